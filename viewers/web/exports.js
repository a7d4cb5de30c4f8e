// Files made in the browser: measurements as CSV, the view as PNG, what is visible as PLY.

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

export function measurementsCsv(entries) {
  const rows = [["number", "name", "kind", "quantity", "value", "standard uncertainty", "unit", "pixels x y"]];
  entries.forEach((entry, i) => {
    const places = entry.points.map((point) => point.map((value) => value.toFixed(1)).join(" ")).join("; ");
    for (const { name, value, uncertainty, unit } of entry.values) rows.push([i + 1, entry.name, entry.kind, name, value, uncertainty ?? "", unit, places]);
  });
  return csv(rows);
}

export function profileCsv(samples, { xy_unit: xyUnit, z_unit: zUnit }) {
  const rows = [[`along ${xyUnit}`, `X ${xyUnit}`, `Y ${xyUnit}`, `Z ${zUnit}`, `standard deviation of Z ${zUnit}`]];
  for (const { along, position, sigma } of samples) rows.push(position ? [along, ...position, sigma] : [along, "", "", "", ""]);
  return csv(rows);
}

function csv(rows) {
  const cell = (value) => {
    const text = String(Number.isNaN(value) ? "" : value);
    const safe = typeof value === "string" && /^[=+\-@\t]/.test(text) ? `'${text}` : text;
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** Binary PLY of the drawn pixels inside the clip box, coloured by the picture. */
export function visiblePly(surface) {
  const places = [];
  for (let i = 0; i < surface.drawn.length; i++) if (surface.isDrawn(i)) places.push(i);
  const unit = surface.metric ? "mm" : `x, y in ${surface.meta.xy_unit}, z in ${surface.meta.z_unit}`;
  const header = ["ply", "format binary_little_endian 1.0", `comment dff ${surface.meta.dff}; unit: ${unit}`, `element vertex ${places.length}`,
    ...["x", "y", "z"].map((name) => `property float ${name}`), ...["red", "green", "blue"].map((name) => `property uchar ${name}`),
    "property float confidence", "end_header", ""].join("\n");
  const body = new DataView(new ArrayBuffer(places.length * 19)), colours = pixelColours(surface);
  places.forEach((place, i) => {
    const column = place % surface.width, at = i * 19;
    const position = surface.position(column, (place - column) / surface.width, surface.indexAt(place));
    position.forEach((value, axis) => body.setFloat32(at + axis * 4, value, true));
    for (let c = 0; c < 3; c++) body.setUint8(at + 12 + c, colours[place * 4 + c]);
    body.setFloat32(at + 15, surface.confidence[place] / surface.meta.confidence_levels, true);
  });
  return new Blob([header, body.buffer], { type: "application/octet-stream" });
}

function pixelColours({ picture, width, height }) {
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, width, height).data;
}

/** The free part of the view, {left, right, top, bottom} px inside its layers, with everything drawn over it. */
export function viewPng(layers, legend, inset, ratio) {
  const [left, top] = [Math.round(inset.left * ratio), Math.round(inset.top * ratio)];
  const wide = layers[0].width - left - Math.round(inset.right * ratio), tall = layers[0].height - top - Math.round(inset.bottom * ratio);
  const canvas = new OffscreenCanvas(wide, tall), context = canvas.getContext("2d");
  for (const layer of layers) context.drawImage(layer, -left, -top, layers[0].width, layers[0].height);
  if (legend) context.drawImage(legend, wide - legend.width - 16 * ratio, 16 * ratio);
  return canvas.convertToBlob({ type: "image/png" });
}

// What is measured on the surface: pure functions of a Surface and pixel coordinates of the page.

/** Places a measurement needs, in words. */
export const TOOLS = {
  point: { title: "Point", points: 1, hint: "Click a point." },
  distance: { title: "Distance", points: 2, hint: "Click two points." },
  angle: { title: "Angle", points: 3, hint: "Click three points; the angle is at the second." },
  profile: { title: "Profile", points: 2, hint: "Click both ends of the line." },
  step: { title: "Step", points: 4, hint: "Click two opposite corners of the first area, then of the second." },
  area: { title: "Area", points: 2, hint: "Click two opposite corners of a rectangle." },
};

/** Values of a measurement: [{name, value, uncertainty, unit}] and, for a profile, its samples. */
export function measure(surface, kind, points) {
  return MEASURES[kind](surface, points);
}

const MEASURES = { point: pointValues, distance: distanceValues, angle: angleValues, profile: profileValues, step: stepValues, area: areaValues };

function taken(surface, [x, y]) {
  const point = surface.at(x, y);
  if (!point || !point.known) throw new Error("Nothing was measured there: choose a point on the surface.");
  return point;
}

function quantity(name, value, unit, uncertainty = null) {
  return { name, value, unit, uncertainty };
}

function pointValues(surface, [place]) {
  const { z_unit: zUnit, xy_unit: xyUnit } = surface.meta;
  const { position: [x, y, z], sigma, confidence, index } = taken(surface, place);
  return {
    values: [quantity("X", x, xyUnit), quantity("Y", y, xyUnit), quantity("Z", z, zUnit, sigma),
      quantity("confidence", 100 * confidence, "%"), quantity("frame", index, "")],
  };
}

function distanceValues(surface, places) {
  const { z_unit: zUnit, xy_unit: xyUnit } = surface.meta;
  const [a, b] = places.map((place) => taken(surface, place));
  const [dx, dy, dz] = a.position.map((value, axis) => b.position[axis] - value);
  const heightError = Math.hypot(a.sigma, b.sigma), flat = Math.hypot(dx, dy), length = Math.hypot(flat, dz);
  const values = surface.metric || zUnit === xyUnit
    ? [quantity("distance", length, xyUnit, length ? (heightError * Math.abs(dz)) / length : heightError)] : [];
  values.push(quantity("ΔXY", flat, xyUnit), quantity("ΔZ", dz, zUnit, heightError));
  if (surface.metric) values.push(quantity("slope", (Math.atan2(Math.abs(dz), flat) * 180) / Math.PI, "°"));
  return { values };
}

function angleValues(surface, places) {
  const [a, apex, b] = places.map((place) => taken(surface, place).position);
  const axes = surface.metric ? [0, 1, 2] : [0, 1];
  const one = axes.map((i) => a[i] - apex[i]), two = axes.map((i) => b[i] - apex[i]);
  const cosine = dot(one, two) / (Math.hypot(...one) * Math.hypot(...two));
  const name = surface.metric ? "angle" : "angle in XY";
  return { values: [quantity(name, (Math.acos(Math.min(1, Math.max(-1, cosine))) * 180) / Math.PI, "°")] };
}

function dot(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

/** Heights along a line, one sample a pixel; a sample on a hole has height NaN. */
export function profileSamples(surface, [from, to]) {
  const steps = Math.max(1, Math.round(Math.hypot(to[0] - from[0], to[1] - from[1])));
  const samples = [];
  for (let i = 0; i <= steps; i++) {
    const t = i / steps, x = from[0] + t * (to[0] - from[0]), y = from[1] + t * (to[1] - from[1]);
    const point = surface.at(x, y);
    const known = point && point.known && point.drawn;
    samples.push({ t, x, y, position: known ? point.position : null, z: known ? point.position[2] : NaN, sigma: known ? point.sigma : NaN });
  }
  const found = samples.filter((sample) => sample.position);
  if (found.length < 2) throw new Error("The line crosses no surface: draw it elsewhere.");
  const first = found[0], last = found[found.length - 1];
  const reach = flatDistance(first.position, last.position) / (last.t - first.t);
  for (const sample of samples) sample.along = sample.t * reach;
  return samples;
}

function flatDistance(a, b) {
  return Math.hypot(b[0] - a[0], b[1] - a[1]);
}

function profileValues(surface, places) {
  const { z_unit: zUnit, xy_unit: xyUnit } = surface.meta;
  const samples = profileSamples(surface, places);
  const known = samples.filter((sample) => sample.position);
  const heights = known.map((sample) => sample.z), mean = average(heights);
  const line = lineThrough(known.map((sample) => sample.along), heights);
  const off = known.map((sample) => sample.z - line.at(sample.along));
  return {
    samples,
    values: [
      quantity("length", samples[samples.length - 1].along, xyUnit),
      quantity("lowest", Math.min(...heights), zUnit), quantity("highest", Math.max(...heights), zUnit),
      quantity("mean", mean, zUnit), quantity("known", (100 * known.length) / samples.length, "%"),
      quantity("Ra about its line", average(off.map(Math.abs)), zUnit), quantity("Rq about its line", rms(off), zUnit),
    ],
  };
}

function average(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function rms(values) {
  return Math.sqrt(average(values.map((value) => value * value)));
}

function lineThrough(x, y) {
  const mx = average(x), my = average(y);
  let xx = 0, xy = 0;
  for (let i = 0; i < x.length; i++) {
    xx += (x[i] - mx) ** 2;
    xy += (x[i] - mx) * (y[i] - my);
  }
  const slope = xx ? xy / xx : 0;
  return { slope, at: (value) => my + slope * (value - mx) };
}

/**
 * Statistics of the drawn pixels of a rectangle.
 * Neighbouring pixels share a focus window of w px, so that n pixels are worth n / (4 pi w^2) independent ones: the
 * area over which a Gaussian window's noise is correlated.
 */
export function areaStatistics(surface, [one, two]) {
  const [left, right] = ordered(one[0], two[0], surface.width), [top, bottom] = ordered(one[1], two[1], surface.height);
  const sum = new Moments();
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const place = y * surface.width + x;
      if (!surface.isDrawn(place)) continue;
      const index = surface.indexAt(place);
      sum.add(surface.position(x, y, index), surface.sigmaTable[surface.sigma[place]] * surface.slope(index));
    }
  }
  const pixels = (right - left + 1) * (bottom - top + 1);
  if (sum.count < 3) throw new Error("The area holds no surface: choose another.");
  return sum.statistics(pixels, 4 * Math.PI * (surface.meta.window_sigma_px / surface.meta.stride) ** 2);
}

function ordered(a, b, size) {
  const clamp = (value) => Math.min(Math.max(Math.round(value), 0), size - 1);
  return a < b ? [clamp(a), clamp(b)] : [clamp(b), clamp(a)];
}

/** Running sums from which mean, deviation and best plane of points follow. */
class Moments {
  constructor() {
    this.count = 0;
    this.low = Infinity;
    this.high = -Infinity;
    this.sums = new Float64Array(9);
    this.noise = 0;
  }

  add([x, y, z], sigma) {
    this.origin ??= [x, y, z];
    const a = x - this.origin[0], b = y - this.origin[1], c = z - this.origin[2];
    [a, b, c, a * a, a * b, b * b, a * c, b * c, c * c].forEach((term, i) => { this.sums[i] += term; });
    this.count++;
    this.noise += sigma * sigma;
    this.low = Math.min(this.low, z);
    this.high = Math.max(this.high, z);
  }

  statistics(pixels, correlated) {
    const n = this.count, [x, y, z, xx, xy, yy, xz, yz, zz] = this.sums.map((value) => value / n);
    const vxx = xx - x * x, vxy = xy - x * y, vyy = yy - y * y, vxz = xz - x * z, vyz = yz - y * z, vzz = Math.max(zz - z * z, 0);
    const det = vxx * vyy - vxy * vxy;
    const gx = det > 0 ? (vxz * vyy - vyz * vxy) / det : 0, gy = det > 0 ? (vyz * vxx - vxz * vxy) / det : 0;
    const residual = Math.max(vzz - gx * vxz - gy * vyz, 0), independent = Math.max(1, n / correlated);
    return {
      count: n, share: n / pixels, mean: z + this.origin[2], deviation: Math.sqrt(vzz), flatness: Math.sqrt(residual),
      low: this.low, high: this.high, slope: Math.hypot(gx, gy),
      uncertainty: Math.sqrt(Math.max(residual, this.noise / n) / independent),
      centre: [x + this.origin[0], y + this.origin[1], z + this.origin[2]],
    };
  }
}

function areaValues(surface, places) {
  const { z_unit: zUnit } = surface.meta, found = areaStatistics(surface, places);
  const values = [
    quantity("mean Z", found.mean, zUnit, found.uncertainty), quantity("lowest", found.low, zUnit), quantity("highest", found.high, zUnit),
    quantity("Sq", found.deviation, zUnit), quantity("Sq about its plane", found.flatness, zUnit),
    quantity("pixels", found.count, ""), quantity("known", 100 * found.share, "%"),
  ];
  if (surface.metric) values.push(quantity("tilt", (Math.atan(found.slope) * 180) / Math.PI, "°"));
  return { values };
}

function stepValues(surface, places) {
  const { z_unit: zUnit } = surface.meta;
  const [one, two] = [areaStatistics(surface, places.slice(0, 2)), areaStatistics(surface, places.slice(2))];
  return {
    values: [
      quantity("step", two.mean - one.mean, zUnit, Math.hypot(one.uncertainty, two.uncertainty)),
      quantity("first mean", one.mean, zUnit, one.uncertainty), quantity("second mean", two.mean, zUnit, two.uncertainty),
    ],
  };
}

/** What an entry of the list is told by, with its name where that is not the entry's own: the height of a point. */
export function headline({ kind, values }) {
  const main = kind === "point" ? values[2] : values[0];
  return { main, text: `${kind === "point" || main.name === "ΔXY" ? `${main.name} ` : ""}${spokenQuantity(main)}` };
}

/** A number with as many digits as its uncertainty, or else about four, carry. */
export function spoken(value, uncertainty = null) {
  if (!Number.isFinite(value)) return "–";
  const fine = Number.isFinite(uncertainty) && uncertainty > 0 ? uncertainty : Math.abs(value) / 1000;
  const digits = fine > 0 ? Math.min(6, Math.max(0, 1 - Math.floor(Math.log10(fine)))) : 2;
  return value.toFixed(digits).replace(/^-(0(?:\.0*)?)$/, "$1");
}

export function spokenQuantity({ value, unit, uncertainty }) {
  if (unit === "%") return `${value.toFixed(0)} %`;
  const error = Number.isFinite(uncertainty) && uncertainty !== null ? ` ± ${spoken(uncertainty, uncertainty)}` : "";
  return `${spoken(value, uncertainty)}${error}${unit ? (unit === "°" ? "°" : ` ${unit}`) : ""}`;
}

// The bar at the top and the two panels, wired to the application.

import { KEYS } from "dff/gestures.js";
import { headline, spoken, spokenQuantity, TOOLS } from "dff/measure.js";
import { Plot } from "dff/plot.js";
import { check, choices, icon, lampDisc, make, section, setIcon, slider } from "dff/widgets.js";

const MODE_TITLES = { picture: "Picture", height: "Height", confidence: "Confidence", frame: "Frame", error: "Error" };
const MAP_OF_MODE = { height: "viridis", confidence: "cividis", frame: "turbo", error: "magma" };

export function buildBar(app, bar) {
  const { meta } = app, known = Math.round(100 * meta.known_share);
  const [rows, columns] = meta.frame_size;
  const facts = [`${columns} × ${rows} px`, `${meta.z.length} frames`, meta.live ? null : `${known} % measured`, meta.applied?.edits.length ? "retouched" : null, meta.camera].filter(Boolean).join("  ·  ");
  const missing = [meta.xy_unit === "px" ? "X, Y in px" : null, meta.z_unit === "frames" ? "Z in frames" : null].filter(Boolean);
  const help = document.getElementById("help");
  buildHelp(help, meta);
  const panel = (name) => () => app.togglePanel(name);
  bar.replaceChildren(...[
    icon("left", "Display", panel("look"), "toggle"),
    make("span", { className: "brand" }, make("span", { className: "mark" }), "dff"),
    make("span", { className: "name" }, meta.title), make("span", { className: "facts" }, facts),
    missing.length ? make("span", { className: "pill", title: "Reconstruct with --step and --pixel-size, or --z-file, to get mm." }, "Not to scale", make("span", { className: "more" }, `: ${missing.join(", ")}`)) : null,
    icon("camera", "Save the view as PNG", () => app.savePng()), icon("home", "Opening view (H)", () => app.home()),
    icon("full", "Full screen (F)", () => app.toggleFull(), "wide"), icon("help", "Keys and mouse (?)", () => help.showModal(), "wide"),
    icon("right", "Picture and measurements", panel("link"), "toggle"),
  ].filter(Boolean));
}

function buildHelp(dialog, meta) {
  const rows = [["Drag", "turn"], ["Right-drag, Shift-drag", "move"], ["Wheel", "zoom"], ["Double click", "look closer at a point"], ...Object.entries(KEYS)];
  dialog.replaceChildren(
    make("h2", {}, "Mouse and keys"),
    make("table", {}, ...rows.map(([keys, does]) => make("tr", {}, make("td", {}, make("kbd", {}, keys)), make("td", {}, does)))),
    make("p", { className: "empty" }, `Made by dff ${meta.dff}. Everything is in this file; nothing is sent anywhere.`),
    make("button", { type: "button", onclick: () => dialog.close() }, "Close"),
  );
}

// ---- display

export function buildLook(app, panel) {
  app.controls = {};
  panel.replaceChildren(surfaceSection(app), lightSection(app), showSection(app), clipSection(app), viewSection(app), saveSection(app));
}

function surfaceSection(app) {
  const { scene, meta, controls } = app;
  const kind = choices({ surface: "Surface", points: "Points" }, "surface", (value) => setPoints(value === "points"));
  const size = slider("Point size", { min: 0.3, max: 4, value: 1, say: (value) => `× ${value.toFixed(1)}`, oninput: (value) => app.set({ pointSize: value }) });
  const setPoints = (points) => {
    size.hidden = !points;
    kind.select(points ? "points" : "surface");
    app.set({ points });
  };
  size.hidden = true;
  controls.points = setPoints;
  const maps = make("select", { "aria-label": "Colour map", onchange: () => app.set({ colourMap: maps.value }) }, ...Object.keys(meta.colour_maps).map((name) => make("option", { value: name }, name)));
  const mapRow = make("label", { className: "row", hidden: true }, "Colours", maps);
  const ranges = rangeSliders(app);
  const modes = choices(MODE_TITLES, "picture", (mode) => setMode(mode), "grid");
  const setMode = (mode) => {
    modes.select(mode);
    mapRow.hidden = mode === "picture";
    maps.value = MAP_OF_MODE[mode] ?? scene.state.colourMap;
    app.set({ mode, colourMap: maps.value });
    ranges.show(mode);
  };
  controls.mode = setMode;
  return section("Surface", {}, kind, size, modes, mapRow, ranges, reliefSlider(app), smoothSlider(app));
}

/** How far the drawn surface is smoothed; measurements never are. */
function smoothSlider(app) {
  const say = (value) => (value ? `${value} px` : "none");
  const bar = slider("Smooth the view", { min: 0, max: 12, step: 1, value: app.scene.restful, say, oninput: (value) => {
    clearTimeout(bar.timer);
    bar.timer = setTimeout(() => app.scene.setSmoothing(value), 120);
  } });
  app.controls.smooth = bar.set;
  return Object.assign(bar, { title: "Only how it looks: what is read, measured and saved is the surface as it was measured." });
}

/** Ends of the height colours. */
function rangeSliders(app) {
  const { meta, scene } = app, [low, high] = meta.heights, room = (high - low) * 0.5;
  const say = (value) => `${spoken(value, (high - low) / 200)} ${meta.z_unit}`;
  const change = (end, value) => {
    const range = [...scene.range("height")];
    range[end] = value;
    if (range[1] - range[0] > (high - low) * 1e-3) app.set({ ranges: { ...scene.state.ranges, height: range } });
  };
  const row = make("div", { hidden: true },
    slider("Colours from", { min: low - room, max: high, value: low, say, oninput: (value) => change(0, value) }),
    slider("to", { min: low, max: high + room, value: high, say, oninput: (value) => change(1, value) }));
  return Object.assign(row, { show: (mode) => { row.hidden = mode !== "height"; } });
}

function reliefSlider(app) {
  const { meta, surface } = app, base = meta.relief;
  const say = (value) => {
    const relief = base * 2 ** value;
    return surface.metric ? `× ${spoken(relief, relief / 30)}` : `${spoken(relief, relief / 30)} ${meta.xy_unit} a ${meta.z_unit === "mm" ? "mm" : "frame"}`;
  };
  const bar = slider(surface.metric ? "Height exaggeration" : "Height as", { min: -3, max: 3, step: 0.05, value: 0, say, oninput: (value) => app.setRelief(base * 2 ** value) });
  if (surface.metric && Math.abs(base - 1) > 0.01) bar.append(make("button", { type: "button", textContent: "True to scale", onclick: () => { bar.set(Math.log2(1 / base)); app.setRelief(1); } }));
  return bar;
}

function lightSection(app) {
  const { state } = app.scene;
  const share = slider("Relief light", { min: 0, max: 1, value: state.lampShare, say: (value) => `${Math.round(100 * value)} %`, oninput: (value) => app.set({ lampShare: value }) });
  return section("Light", {}, make("div", { className: "lamp" }, lampDisc(state.lamp, (lamp) => app.set({ lamp })), share),
    check("Without colour", state.grey, (grey) => app.set({ grey })));
}

function showSection(app) {
  const { surface, meta, scene, controls } = app;
  const span = meta.heights[1] - meta.heights[0];
  const steps = [0, ...[1, 2, 5, 10, 20, 50, 100].map((share) => share / 1000)].map((share) => niceInterval(span * share * 2));
  const interval = make("select", { "aria-label": "Contour lines", onchange: () => app.set({ contour: Number(interval.value) }) },
    ...[...new Set(steps)].map((value) => make("option", { value }, value ? `every ${value} ${meta.z_unit}` : "none")));
  const grid = check("Grid and axes", scene.state.grid, (value) => app.set({ grid: value }));
  controls.grid = (value) => { grid.input.checked = value; app.set({ grid: value }); };
  return section("Show", {},
    slider("Confidence at least", { min: 0, max: 1, step: 0.02, value: meta.min_confidence, say: (value) => `${Math.round(100 * value)} %`, oninput: (value) => app.setThreshold({ minConfidence: value }) }),
    check("Leave out stray points", surface.hideStrays, (hideStrays) => app.setThreshold({ hideStrays })),
    make("label", { className: "row" }, "Contours", interval), grid);
}

function niceInterval(value) {
  if (!value) return 0;
  const power = 10 ** Math.floor(Math.log10(value)), factor = [1, 2, 5, 10].find((candidate) => candidate * power >= value * 0.75);
  return Number((factor * power).toPrecision(6));
}

function clipSection(app) {
  const { meta } = app, units = [meta.xy_unit, meta.xy_unit, meta.z_unit];
  const rows = ["X", "Y", "Z"].map((name, axis) => {
    const span = meta.box[1][axis] - meta.box[0][axis], low = meta.box[0][axis] - 0.1 * span, high = meta.box[1][axis] + 0.1 * span;
    const value = make("span", { className: "value" }), ends = [low, high].map((end) => make("input", { type: "range", min: low, max: high, step: "any", "aria-label": `${name} ${end === low ? "from" : "to"}` }));
    ends[0].value = low;
    ends[1].value = high;
    const tell = () => {
      const [from, to] = ends.map((input) => Number(input.value)), whole = [from <= low + span * 1e-6, to >= high - span * 1e-6];
      value.textContent = whole[0] && whole[1] ? "all" : `${spoken(from, span / 200)} to ${spoken(to, span / 200)} ${units[axis]}`;
      return [whole[0] ? -Infinity : from, whole[1] ? Infinity : to];
    };
    ends.forEach((input) => input.addEventListener("input", () => app.setClip(axis, tell())));
    tell();
    return make("div", { className: "row" }, make("span", {}, name), value, make("div", { className: "pair" }, ...ends));
  });
  return section("Clip box", { open: false }, ...rows);
}

function viewSection(app) {
  const projection = choices({ perspective: "Perspective", parallel: "Parallel" }, "perspective", (value) => app.controls.perspective(value === "perspective"));
  app.controls.perspective = (perspective) => { projection.select(perspective ? "perspective" : "parallel"); app.setPerspective(perspective); };
  const views = ["front", "left", "right", "above", "below", "back"].map((name) => make("button", { type: "button", onclick: () => app.preset(name) }, name[0].toUpperCase() + name.slice(1)));
  return section("View", {}, make("div", { className: "choices grid" }, ...views), projection);
}

function saveSection(app) {
  return section("Save", {}, make("div", { className: "buttons" },
    make("button", { type: "button", onclick: () => app.savePng() }, "Picture (PNG)"),
    make("button", { type: "button", onclick: () => app.savePly() }, "Visible points (PLY)")));
}

// ---- picture and measurements

/** Builds the panel; gives the canvas of the picture. */
export function buildLink(app, panel) {
  const canvas = make("canvas", { tabIndex: 0, "aria-label": "Picture, linked with the model" });
  const { surface } = app;
  canvas.style.aspectRatio = `${surface.width} / ${surface.height}`;
  const layers = choices({ picture: "Picture", height: "Height", confidence: "Confidence", ...(surface.frames.length ? { frames: "Frames" } : {}) }, "picture", (layer) => {
    app.picture.layer = layer;
    if (layer === "frames" && app.scene.state.focus < 0) app.setFocus(surface.count >> 1);
    app.picture.request();
  });
  const larger = icon("full", "Larger picture (W)", () => app.toggleWide(), "larger");
  panel.replaceChildren(make("div", { className: "picture" }, canvas, larger), layers, focusRow(app), measureSection(app));
  return canvas;
}

function focusRow(app) {
  const { meta, controls } = app, last = meta.z.length - 1;
  const bar = make("input", { type: "range", min: 0, max: last, step: 1, value: last >> 1, "aria-label": "Frame in focus" });
  const name = make("span", { className: "frame" }, "Slide through focus: what is sharp lights up.");
  const play = icon("play", "Play through focus", () => (timer ? stop() : start()));
  const clear = make("button", { type: "button", title: "Light nothing", onclick: () => { stop(); app.setFocus(null); } }, "Off");
  let timer = 0, direction = 1;
  const stop = () => { clearInterval(timer); timer = 0; setIcon(play, "play"); };
  const start = () => {
    setIcon(play, "pause");
    timer = setInterval(() => {
      const at = Math.round(app.scene.state.focus < 0 ? 0 : app.scene.state.focus);
      if (at + direction > last || at + direction < 0) direction = -direction;
      app.setFocus(at + direction);
    }, Math.max(60, 4000 / (last + 1)));
  };
  bar.addEventListener("input", () => { stop(); app.setFocus(Number(bar.value)); });
  app.focus = (k) => {
    if (k !== null) bar.value = k;
    name.textContent = k === null ? "Slide through focus: what is sharp lights up." : `Frame ${k}  ·  Z ${Number(meta.z[k].toPrecision(5))} ${meta.z_unit}  ·  ${meta.names[k] ?? ""}`;
  };
  controls.step = (by) => { stop(); app.setFocus(Math.min(last, Math.max(0, Math.round(app.scene.state.focus < 0 ? Number(bar.value) : app.scene.state.focus) + by))); };
  return make("div", { className: "focus" }, play, bar, clear, name);
}

function measureSection(app) {
  const { measurements } = app;
  const tools = Object.entries(TOOLS).map(([tool, { title, hint }]) => make("button", { type: "button", title: hint, "data-tool": tool, onclick: () => measurements.start(tool) }, title));
  const list = make("ol", { className: "list" }), canvas = make("canvas", { className: "plot", hidden: true }), plot = new Plot(canvas, app.meta);
  const files = make("div", { className: "buttons", hidden: true },
    make("button", { type: "button", onclick: () => app.saveCsv() }, "Measurements (CSV)"),
    make("button", { type: "button", className: "profile", onclick: () => app.saveProfile(measurements.profile()) }, "Profile (CSV)"),
    make("button", { type: "button", onclick: () => app.savePng() }, "Picture (PNG)"));
  canvas.addEventListener("pointermove", (event) => {
    const sample = plot.sampleAt(event.clientX - canvas.getBoundingClientRect().left);
    if (sample) app.hover([sample.x, sample.y]);
  });
  canvas.addEventListener("pointerleave", () => { plot.cursor = null; plot.draw(); app.hover(null); });
  measurements.onchange = () => {
    tools.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.tool === measurements.tool)));
    document.getElementById("view").classList.toggle("measuring", Boolean(measurements.tool));
    list.replaceChildren(...(measurements.entries.length ? measurements.entries.map((entry, k) => listItem(measurements, entry, k)) : [make("p", { className: "empty" }, "Choose a tool, then click on the model or the picture.")]));
    files.hidden = !measurements.entries.length;
    const samples = measurements.profile();
    canvas.hidden = !samples;
    files.querySelector(".profile").hidden = !samples;
    if (samples) plot.show(samples);
  };
  return make("section", {}, make("h2", {}, "Measure"), make("div", { className: "choices grid" }, ...tools), canvas, list, files);
}

function listItem(measurements, entry, k) {
  const { main, text } = headline(entry), rest = entry.values.filter((value) => value !== main), active = k === measurements.active;
  return make("li", { "aria-current": String(active), onclick: () => measurements.select(k) },
    make("span", { title: entry.kind }, entry.name),
    make("span", {}, make("span", { className: "main" }, text), make("button", { type: "button", className: "drop", title: "Remove", onclick: (event) => { event.stopPropagation(); measurements.remove(k); } }, "×")),
    active && rest.length ? make("dl", {}, ...rest.flatMap((value) => [make("dt", {}, value.name), make("dd", {}, spokenQuantity(value))])) : null);
}


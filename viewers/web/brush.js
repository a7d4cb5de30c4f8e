// The brush: its panel, its pulls on the model and on the picture, and how they look while they last.

import { spoken } from "dff/measure.js";
import { LAYERS } from "dff/picture.js";
import { KINDS, reachOf, UNSEEN } from "dff/strokes.js";
import { check, choices, make, section, slider } from "dff/widgets.js";

const SMALLEST_PX = 1.5;
const NOT_YET = "Nearer and Farther are only marked until then: their depth is in the source frames, not in the page.";

export class Brush {
  constructor(app, panel) {
    this.app = app;
    this.kind = null;
    this.last = "frame";
    this.hardness = 0.7;
    this.largest = Math.max(...app.meta.frame_size) / 4;
    this.radius = Math.max(SMALLEST_PX, Math.max(...app.meta.frame_size) / 50);
    this.path = null;
    this.marks = true;
    app.picture.brush = app.overlay.brush = this;
    panel.lastElementChild.before(this.build());
    panel.querySelector(".retouch").hidden = Boolean(app.meta.live); // there is nothing yet to paint on
    app.edits.onchange = () => this.tell();
    this.tell();
  }

  // ---- the panel

  build() {
    const { app } = this, titles = Object.fromEntries(Object.entries(KINDS).map(([kind, { title }]) => [kind, title]));
    if (!app.surface.frames.length && !app.meta.names.length) delete titles.frame;
    const button = (text, title, onclick) => make("button", { type: "button", title, onclick }, text);
    this.kinds = choices(titles, "", (kind) => this.choose(kind === this.kind ? null : kind), "grid");
    this.kinds.querySelectorAll("button").forEach((one) => { one.title = KINDS[one.dataset.value].hint; });
    const octaves = Math.log2(this.largest / SMALLEST_PX), level = (radius) => Math.log2(radius / SMALLEST_PX) / octaves;
    const radiusAt = (value) => SMALLEST_PX * 2 ** (value * octaves);
    this.size = slider("Size", { min: 0, max: 1, value: level(this.radius), say: (value) => `${spoken(2 * radiusAt(value), 1)} px`, oninput: (value) => this.setRadius(radiusAt(value), true) });
    this.level = level;
    const hardness = slider("Hardness", { min: 0, max: 1, step: 0.05, value: this.hardness, say: (value) => `${Math.round(100 * value)} %`, oninput: (value) => { this.hardness = value; this.redraw(); } });
    this.back = button("Undo", "Take the last stroke back (Ctrl Z)", () => app.edits.undo());
    this.again = button("Redo", "Do it again (Ctrl Shift Z)", () => app.edits.redo());
    this.none = button("Clear", "Take all strokes back", () => app.edits.clear());
    this.apply = app.meta.served
      ? button("Apply to the result", "What `dff apply` does: picture, maps, cloud and mesh are written with the edits", () => this.applyNow())
      : button("Save edits.json", "Put it into the result folder and run: dff apply RESULT", () => app.saveEdits());
    this.words = make("p", { className: "empty", role: "status" });
    const shown = check("Mark the strokes", true, (marks) => { this.marks = marks; this.redraw(); });
    const built = section("Retouch", { open: false }, this.kinds, this.size, hardness, shown, make("div", { className: "buttons" }, this.back, this.again, this.none), make("div", { className: "buttons" }, this.apply), this.words);
    built.classList.add("retouch");
    this.details = built.firstElementChild;
    this.details.addEventListener("toggle", () => { if (!this.details.open) this.choose(null); this.redraw(); });
    return built;
  }

  tell() {
    const { edits, meta, scene } = this.app, count = edits.strokes.length;
    this.back.disabled = this.none.disabled = !count;
    this.again.disabled = !edits.undone.length;
    this.apply.disabled = meta.served ? edits.isApplied : !count;
    const strokes = `${count} stroke${count === 1 ? "" : "s"}`;
    const state = !count && !edits.applied.length ? "The result stays as it is until the edits are applied."
      : edits.isApplied ? `${strokes}, applied.` : `${strokes}, not applied yet${meta.served ? "" : ": save edits.json into the result folder, then run dff apply"}.`;
    const unseen = !edits.isApplied && edits.strokes.some(({ kind }) => UNSEEN.includes(kind));
    this.words.textContent = unseen ? `${state} ${NOT_YET}` : state;
    const frame = this.kinds.querySelector("[data-value=frame]");
    if (frame) frame.textContent = scene.state.focus < 0 ? "Frame" : `Frame ${Math.round(scene.state.focus)}`;
  }

  async applyNow() {
    this.choose(null);
    this.apply.disabled = true;
    this.words.textContent = "Applying: the source frames are read again …";
    await this.app.edits.apply();
    this.tell();
  }

  // ---- choosing

  toggle() {
    if (this.app.meta.live) return;
    this.choose(this.kind ? null : this.last);
  }

  choose(kind) {
    const { app } = this;
    if (kind === this.kind) return;
    this.kind = kind;
    this.kinds.select(kind ?? "");
    if (kind) {
      this.last = kind;
      this.details.open = true;
      if (app.measurements.tool) app.measurements.start(app.measurements.tool);
      if (app.scene.state.focus < 0) app.setFocus(app.surface.count >> 1);
      if (kind === "frame") this.showLayer("frames");
    }
    app.hint(kind ? KINDS[kind].hint : null);
    document.getElementById("view").classList.toggle("measuring", Boolean(kind));
    app.set({ quiet: Boolean(kind) });
    this.redraw();
  }

  setRadius(radius, fromSlider = false) {
    this.radius = Math.min(this.largest, Math.max(SMALLEST_PX, radius));
    if (!fromSlider) this.size.set(this.level(this.radius));
    this.redraw();
  }

  scale(factor) {
    if (this.kind) this.setRadius(this.radius * factor);
  }

  showLayer(layer) {
    document.querySelector(`#link [data-value="${layer}"]`)?.click();
  }

  nextLayer() {
    const there = LAYERS.filter((layer) => document.querySelector(`#link [data-value="${layer}"]`));
    this.showLayer(there[(there.indexOf(this.app.picture.layer) + 1) % there.length]);
  }

  // ---- pulling: places are page coordinates, null beside the surface

  /** Start a stroke, or take the frame to paint with from a place; says whether there is a stroke. */
  begin(place, sampling = false) {
    if (!this.kind || !place || !this.app.isComplete) return false;
    if (sampling) {
      const point = this.app.surface.at(...place);
      if (point?.known) this.app.setFocus(Math.round(point.index));
      return false;
    }
    this.path = [];
    this.move(place);
    return true;
  }

  move(place) {
    if (!place || !this.path) return;
    const point = this.app.surface.toResult(place).map((value) => Math.round(value * 10) / 10), before = this.path.at(-1);
    if (before && Math.hypot(point[0] - before[0], point[1] - before[1]) < Math.max(0.5, this.radius / 8)) return;
    this.path.push(point);
    this.redraw();
  }

  end() {
    if (!this.path?.length) return;
    const stroke = { kind: this.kind };
    if (this.kind === "frame") stroke.frame = Math.round(this.app.scene.state.focus);
    Object.assign(stroke, { radius_px: Number(this.radius.toFixed(2)), hardness: this.hardness, points: this.path });
    this.path = null;
    this.app.edits.add(stroke);
  }

  /** Drop the stroke that is being pulled. */
  cancel() {
    this.path = null;
    this.redraw();
    return false;
  }

  /** Paint one spot. */
  dab(place) {
    if (this.begin(place)) this.end();
  }

  // ---- looking

  redraw() {
    this.app.picture.request();
    this.app.overlay.draw();
  }

  /** On the picture: the strokes, the one that is being pulled, and the brush itself. */
  drawOn(context, picture) {
    if (!this.details.open) return;
    const { edits } = this.app, px = picture.scale / picture.surface.meta.stride;
    const place = (point) => picture.toCanvas(picture.surface.fromResult(point));
    if (this.marks) for (const stroke of edits.strokes) this.outline(context, stroke, place, px, edits.isApplied || !UNSEEN.includes(stroke.kind) ? 0.12 : 0.3);
    if (this.path) this.outline(context, this.pulled(), place, px, 0.4);
    if (this.kind && picture.cursor) this.ring(context, picture.toCanvas(picture.cursor), this.radius * px, picture.ratio);
  }

  pulled() {
    return { kind: this.kind, radius_px: this.radius, hardness: this.hardness, points: this.path };
  }

  /** A stroke as a translucent band. */
  outline(context, stroke, place, px, share) {
    band(context, stroke.points.map(place), 2 * reachOf(stroke) * px, KINDS[stroke.kind].colour, share);
  }

  ring(context, [x, y], radius, ratio) {
    for (const [colour, width] of [["#000a", 3 * ratio], [KINDS[this.kind].colour, 1.5 * ratio]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, Math.max(radius, 2), 0, 7);
      context.stroke();
    }
    context.lineWidth = ratio;
    context.globalAlpha = 0.6;
    context.beginPath();
    context.arc(x, y, Math.max(radius * this.hardness, 1), 0, 7);
    context.stroke();
    context.globalAlpha = 1;
  }

  /** On the model: the brush and its pull, laid over the surface. */
  drawOver(context, overlay) {
    const { surface } = this.app, radius = this.radius / surface.meta.stride;
    const colour = KINDS[this.kind].colour;
    if (this.path) {
      const px = overlay.scene.pixelSize() / overlay.scene.camera.worldPerPixel();
      const places = this.path.map((point) => overlay.placeOf(surface.fromResult(point))).filter(Boolean);
      if (places.length) band(context, places, (2 * reachOf(this.pulled()) * px) / surface.meta.stride, colour, 0.4);
    }
    if (!overlay.cursor) return;
    const [x, y] = overlay.cursor, ring = Array.from({ length: 49 }, (_, i) => overlay.placeOf([x + radius * Math.cos((i * Math.PI) / 24), y + radius * Math.sin((i * Math.PI) / 24)]));
    for (const [ink, width] of [["#000a", 3.5], [colour, 1.5]]) {
      context.strokeStyle = ink;
      context.lineWidth = width;
      context.beginPath();
      ring.forEach((place, i) => { if (place) context[i && ring[i - 1] ? "lineTo" : "moveTo"](place[0], place[1]); });
      context.stroke();
    }
  }
}

function band(context, places, width, colour, share) {
  context.save();
  context.globalAlpha = share;
  context.strokeStyle = colour;
  context.lineWidth = Math.max(1.5, width);
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  context.moveTo(places[0][0], places[0][1]);
  for (const [x, y] of places.length > 1 ? places.slice(1) : [[places[0][0] + 0.01, places[0][1]]]) context.lineTo(x, y);
  context.stroke();
  context.restore();
}

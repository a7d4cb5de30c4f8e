// The strokes painted on a result: doing, undoing, showing and keeping them. The result itself is changed by `dff apply`.

import { bytesOf, readMap } from "dff/data.js";
import { fromBrowser, keepInBrowser, put } from "dff/keeping.js";
import { leave } from "dff/live.js";
import { paintMaps } from "dff/strokes.js";

const MAPS = { index: Uint16Array, confidence: Uint8Array, sigma: Uint8Array, flags: Uint8Array };

export class Edits {
  constructor(app) {
    this.app = app;
    this.strokes = [];
    this.undone = [];
    this.onchange = () => {};
    this.stale = true;
    this.saving = Promise.resolve();
    this.shown = Promise.resolve();
  }

  get content() {
    const { frame_size: size } = this.app.meta;
    return { format: "dff-edits", version: 1, size_px: size, edits: this.strokes };
  }

  /** Strokes that are part of the maps already. */
  get applied() {
    return this.app.meta.applied?.edits ?? [];
  }

  get isApplied() {
    return this.strokes.length === this.applied.length && this.isOnApplied;
  }

  /** Whether the strokes begin with those that are part of the maps. */
  get isOnApplied() {
    return same(told(this.strokes.slice(0, this.applied.length)), told(this.applied));
  }

  // ---- doing and undoing

  add(stroke) {
    this.strokes.push(stroke);
    this.undone = [];
    this.changed();
  }

  undo() {
    if (!this.strokes.length) return;
    this.undone.push(this.strokes.pop());
    this.stale = true;
    this.changed();
  }

  redo() {
    if (!this.undone.length) return;
    this.strokes.push(this.undone.pop());
    this.changed();
  }

  clear() {
    this.undone = this.strokes.reverse();
    this.strokes = [];
    this.stale = true;
    this.changed();
  }

  changed() {
    this.keep();
    this.onchange();
    this.shown = this.shown.then(() => this.show());
  }

  // ---- showing

  /** Let the surface and the picture show the strokes: new ones on top of the others, or all anew. */
  async show() {
    const { surface, scene, picture } = this.app;
    await this.prepare();
    const start = this.isOnApplied ? this.page : this.untouched;
    if (this.stale || this.from !== start) {
      this.reset(start);
      this.from = start;
      this.at = this.isOnApplied ? this.applied.length : 0;
      this.stale = false;
    }
    while (this.at < this.strokes.length) await this.paint(this.strokes[this.at++]);
    surface.updateDrawn();
    scene.updateMaps();
    picture.request();
    this.app.measurements.mark();
  }

  async paint(stroke) {
    const { surface } = this.app, cover = paintMaps(surface, stroke);
    if (cover && stroke.kind === "frame") await this.paintPicture(stroke, cover);
  }

  /** The small picture of the frame, through the brush. */
  async paintPicture(stroke, { left, top, width, height, weight }) {
    const { picture, surface } = this.app, bitmap = await picture.loaded(stroke.frame);
    if (!bitmap) return;
    const patch = new OffscreenCanvas(width, height), context = patch.getContext("2d");
    const mask = new ImageData(width, height);
    weight.forEach((share, i) => { mask.data[4 * i + 3] = Math.round(255 * share); });
    context.putImageData(mask, 0, 0);
    context.globalCompositeOperation = "source-in";
    context.imageSmoothingQuality = "high";
    context.filter = `brightness(${surface.meta.gains[stroke.frame]})`;
    context.translate(-left, -top);
    picture.placeFrame(context, bitmap, stroke.frame);
    this.canvas().getContext("2d").drawImage(patch, left, top);
  }

  /** Keep what the page came with, once: the maps as they are, and as they were before anything was applied. */
  async prepare() {
    if (this.page) return;
    const { surface } = this.app;
    this.page = copyOf(surface);
    this.untouched = this.app.meta.untouched ? await readUntouched(this.page, surface) : this.page;
  }

  reset(state) {
    const { surface } = this.app;
    for (const name of Object.keys(MAPS)) surface[name].set(state[name]);
    surface.picture = state.picture;
  }

  /** The picture as something to paint on. */
  canvas() {
    const { surface } = this.app;
    if (surface.picture instanceof OffscreenCanvas) return surface.picture;
    this.painted ??= new OffscreenCanvas(surface.width, surface.height);
    this.painted.getContext("2d").drawImage(surface.picture, 0, 0);
    return (surface.picture = this.painted);
  }

  // ---- keeping: in the result folder where the page is served, else in the browser

  get place() {
    const { title, frame_size: size, names } = this.app.meta;
    return `dff-edits:${title}:${size}:${names[0]}`;
  }

  keep() {
    if (!this.app.meta.served) return keepInBrowser(this.place, this.content);
    this.saving = this.saving.then(() => this.send()).catch(() => this.app.hint("The edits could not be saved: the server has stopped.", true));
  }

  async send() {
    const { answer, version, isOutdated } = await put("edits.json", this.content, this.version);
    if (isOutdated) this.app.hint("Another window has painted on this result: load this page again to go on from there.", true);
    else if (!answer.ok) this.app.hint("The edits could not be saved in the result folder.", true);
    else this.version = version;
  }

  restore() {
    const { meta } = this.app, kept = meta.served ? null : fromBrowser(this.place);
    const stored = kept?.format === "dff-edits" && same(kept.size_px, meta.frame_size) ? kept : meta.edits;
    this.strokes = structuredClone(stored?.edits ?? this.applied);
    this.version = meta.kept?.edits;
    this.onchange();
    if (!this.isApplied) this.shown = this.show();
  }

  /** Have the server apply the edits, and show the result as it then is. */
  async apply() {
    await this.saving;
    const answer = await fetch("apply", { method: "POST" }).catch(() => null);
    if (answer?.ok) return leave(this.app);
    this.app.hint(answer ? await answer.text() : "The server has stopped.", true);
  }
}

/** Strokes as lists, whatever the order of their names. */
function told(strokes) {
  return strokes.map(({ kind, frame, radius_px: radius, hardness, points }) => [kind, frame ?? null, radius, hardness, points]);
}

function same(one, two) {
  return JSON.stringify(one) === JSON.stringify(two);
}

function copyOf(surface) {
  const copies = Object.fromEntries(Object.keys(MAPS).map((name) => [name, surface[name].slice()]));
  return { ...copies, picture: surface.picture };
}

/** The maps and the picture as they were before edits were applied: the page has those parts that changed. */
async function readUntouched(page, { width, height, meta, picture }) {
  const read = (name, Type) => readMap(`untouched.${name}`, Type, width, height, meta.rows);
  const names = Object.keys(MAPS), [mask, patch, ...maps] = await Promise.all([
    read("mask", Uint8Array), createImageBitmap(new Blob([bytesOf("untouched.picture.0")], { type: "image/png" }), { colorSpaceConversion: "none" }),
    ...names.map((name) => read(name, MAPS[name])),
  ]);
  const state = {};
  names.forEach((name, n) => {
    state[name] = page[name].slice();
    for (let i = 0; i < mask.length; i++) if (mask[i]) state[name][i] = maps[n][i];
  });
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  context.drawImage(patch, 0, 0);
  state.picture = await createImageBitmap(canvas);
  return state;
}

// The flat half of the linked view: all-in-focus picture, maps in colour, and the source frames, with zoom and pan.

import { decodeBase64 } from "dff/data.js";

export const LAYERS = ["picture", "height", "confidence", "frames"];

export class Picture {
  constructor(canvas, surface, scene) {
    Object.assign(this, { canvas, surface, scene });
    this.layer = "picture";
    this.zoom = 1;
    this.centre = [surface.width / 2, surface.height / 2];
    this.marks = [];
    this.cursor = null;
    this.bitmaps = new Map();
    this.scheduled = false;
  }

  request() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => { this.scheduled = false; this.draw(); });
  }

  /** px of the canvas a pixel of the page. */
  get scale() {
    const { canvas, surface } = this;
    return this.zoom * Math.min(canvas.width / surface.width, canvas.height / surface.height);
  }

  get ratio() {
    return this.canvas.width / Math.max(this.canvas.clientWidth, 1);
  }

  /** Page coordinates of CSS px in the canvas, and back; (0, 0) is the centre of the first pixel. */
  toPage(x, y) {
    const { canvas, centre, scale, ratio } = this;
    return [(x * ratio - canvas.width / 2) / scale + centre[0] - 0.5, (y * ratio - canvas.height / 2) / scale + centre[1] - 0.5];
  }

  toCanvas([x, y]) {
    const { canvas, centre, scale } = this;
    return [(x + 0.5 - centre[0]) * scale + canvas.width / 2, (y + 0.5 - centre[1]) * scale + canvas.height / 2];
  }

  zoomAt(factor, x, y) {
    const before = this.toPage(x, y);
    this.zoom = Math.min(64, Math.max(1, this.zoom * factor));
    const after = this.toPage(x, y);
    this.centre = this.centre.map((value, i) => value + before[i] - after[i]);
    this.hold();
  }

  pan(dx, dy) {
    const step = this.ratio / this.scale;
    this.centre = [this.centre[0] - dx * step, this.centre[1] - dy * step];
    this.hold();
  }

  hold() {
    const { canvas, surface, scale } = this;
    const bound = (value, size, seen) => (seen >= size ? size / 2 : Math.min(Math.max(value, seen / 2), size - seen / 2));
    this.centre = [bound(this.centre[0], surface.width, canvas.width / scale), bound(this.centre[1], surface.height, canvas.height / scale)];
    this.request();
  }

  resize() {
    const { canvas } = this, ratio = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = Math.max(2, Math.round(canvas.clientWidth * ratio));
    canvas.height = Math.max(2, Math.round(canvas.clientHeight * ratio));
    this.hold();
  }

  draw() {
    const { canvas, surface } = this, context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#0b0c0e";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = this.scale < 3;
    const [left, top] = this.toCanvas([-0.5, -0.5]);
    context.setTransform(this.scale, 0, 0, this.scale, left, top);
    if (this.layer === "picture") context.drawImage(surface.picture, 0, 0);
    else if (this.layer === "frames") this.drawFrame(context);
    context.setTransform(1, 0, 0, 1, 0, 0);
    const { focus, quiet } = this.scene.state, tint = this.layer !== "frames" && focus >= 0 && !quiet;
    if (this.layer === "height" || this.layer === "confidence") context.putImageData(this.mapImage(), 0, 0);
    if (tint) this.overlayBand(context);
    this.brush?.drawOn(context, this);
    this.drawMarks(context);
  }

  /** The frame in focus, moved as the alignment moves it. */
  drawFrame(context) {
    const k = Math.round(Math.max(this.scene.state.focus, 0)), small = this.bitmap(k), { stride, frame_size: size } = this.surface.meta;
    const coarse = small !== null && small.width < size[1] && small.width * 1.2 < (size[1] / stride) * this.scale;
    const bitmap = this.sources?.at(k, coarse) ?? small;
    if (bitmap) this.placeFrame(context, bitmap, k);
  }

  /** Draw the small picture of frame k where the alignment puts it, in px of the page. */
  placeFrame(context, bitmap, k) {
    const { transforms, frame_size: [height, width], stride, first } = this.surface.meta;
    const t = transforms[k], sx = width / bitmap.width, sy = height / bitmap.height;
    // Frame px about pixel centres to page px about pixel edges.
    const offset = (row) => (t[row * 3 + 2] - 0.5 * t[row * 3] - 0.5 * t[row * 3 + 1] - first) / stride + 0.5;
    context.transform((t[0] * sx) / stride, (t[3] * sx) / stride, (t[1] * sy) / stride, (t[4] * sy) / stride, offset(0), offset(1));
    context.drawImage(bitmap, 0, 0);
  }

  bitmap(k) {
    const { surface } = this;
    if (!surface.frames[k]) return null;
    if (!this.bitmaps.has(k)) {
      this.bitmaps.set(k, null);
      createImageBitmap(surface.frames[k]).then((bitmap) => { this.bitmaps.set(k, bitmap); this.request(); });
      if (this.bitmaps.size > 40) this.forget(k);
    }
    return this.bitmaps.get(k);
  }

  /** The picture of frame k, as large as it is to be had; null where there is none. */
  async loaded(k) {
    return (await this.sources?.load(k)) ?? this.bitmap(k) ?? (this.surface.frames[k] ? createImageBitmap(this.surface.frames[k]) : null);
  }

  forget(k) {
    const far = [...this.bitmaps.keys()].sort((a, b) => Math.abs(b - k) - Math.abs(a - k))[0];
    this.bitmaps.get(far)?.close();
    this.bitmaps.delete(far);
  }

  /** The map at the canvas' own resolution. */
  mapImage() {
    const { canvas } = this;
    const image = new ImageData(canvas.width, canvas.height), out = new Uint32Array(image.data.buffer);
    const colour = this.layer === "height" ? this.heightColour() : this.confidenceColour();
    this.eachPixel((place, i) => { out[i] = colour(place); }, (i) => { out[i] = 0xff0e0c0b; });
    return image;
  }

  eachPixel(inside, outside = () => {}) {
    const { canvas, surface, scale, centre } = this, { width, height } = surface;
    const columns = Int32Array.from({ length: canvas.width }, (_, x) => Math.floor((x + 0.5 - canvas.width / 2) / scale + centre[0]));
    for (let y = 0, i = 0; y < canvas.height; y++) {
      const row = Math.floor((y + 0.5 - canvas.height / 2) / scale + centre[1]);
      for (let x = 0; x < canvas.width; x++, i++) {
        const column = columns[x];
        if (row < 0 || row >= height || column < 0 || column >= width) outside(i);
        else inside(row * width + column, i);
      }
    }
  }

  ramp(name) {
    const bytes = decodeBase64(this.surface.meta.colour_maps[name]);
    return Uint32Array.from({ length: 256 }, (_, k) => 0xff000000 | (bytes[3 * k + 2] << 16) | (bytes[3 * k + 1] << 8) | bytes[3 * k]);
  }

  heightColour() {
    const { surface, scene } = this, { z } = surface.meta, [low, high] = scene.range("height");
    const ramp = this.ramp(scene.state.colourMap);
    const level = (k) => (255 * (z[k] - low)) / (high - low);
    const levels = z.map((_, k) => level(k));
    return (place) => {
      const code = surface.index[place];
      if (!code || !(surface.drawn[place] & 4)) return 0xff1c1a18;
      const index = (code - 1) * surface.meta.quantum, k = Math.min(index | 0, levels.length - 2), f = index - k;
      return ramp[Math.min(255, Math.max(0, Math.round(levels[k] * (1 - f) + levels[k + 1] * f)))];
    };
  }

  confidenceColour() {
    const { surface, scene } = this, ramp = this.ramp(scene.state.mode === "confidence" ? scene.state.colourMap : "magma");
    return (place) => ramp[Math.round((255 * surface.confidence[place]) / surface.meta.confidence_levels)];
  }

  /** What is in focus stays, the rest dims. */
  overlayBand(context) {
    const { canvas, surface, scene } = this, image = context.getImageData(0, 0, canvas.width, canvas.height), { data } = image;
    const focus = scene.state.focus;
    this.eachPixel((place, i) => {
      const code = surface.index[place];
      const off = code ? Math.abs((code - 1) * surface.meta.quantum - focus) : 9;
      const share = off < 0.35 ? 1 : off > 0.75 ? 0 : (0.75 - off) / 0.4;
      const dim = 0.38 + 0.62 * share, o = 4 * i;
      data[o] = data[o] * dim + 60 * share;
      data[o + 1] = data[o + 1] * dim + 34 * share;
      data[o + 2] = data[o + 2] * dim + 4 * share;
    });
    context.putImageData(image, 0, 0);
  }

  drawMarks(context) {
    const ratio = this.ratio;
    for (const { kind, points, active } of this.marks) {
      const places = points.map((point) => this.toCanvas(point));
      context.strokeStyle = active ? "#ffc46b" : "#ffffffd0";
      context.lineWidth = 1.5 * ratio;
      context.shadowColor = "#000";
      context.shadowBlur = 3 * ratio;
      if (kind === "area" || kind === "step") strokeAreas(context, places);
      else strokePath(context, places, ratio);
      context.shadowBlur = 0;
    }
    if (this.cursor) drawCross(context, this.toCanvas(this.cursor), ratio);
  }
}

function strokeAreas(context, places) {
  for (let i = 0; i + 1 < places.length; i += 2) {
    const [[x, y], [u, v]] = [places[i], places[i + 1]];
    context.strokeRect(Math.min(x, u), Math.min(y, v), Math.abs(u - x), Math.abs(v - y));
  }
}

function strokePath(context, places, ratio) {
  context.beginPath();
  places.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
  for (const [x, y] of places) {
    context.beginPath();
    context.arc(x, y, 3 * ratio, 0, 7);
    context.stroke();
  }
}

function drawCross(context, [x, y], ratio) {
  context.lineWidth = ratio;
  for (const [colour, grow] of [["#000a", 2], ["#fff", 0]]) {
    context.strokeStyle = colour;
    context.lineWidth = ratio * (1 + grow);
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * 3 * ratio, y + dy * 3 * ratio);
      context.lineTo(x + dx * 10 * ratio, y + dy * 10 * ratio);
    }
    context.stroke();
  }
}

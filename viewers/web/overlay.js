// Drawn over the model with a plain 2D canvas: measurements, cursor, scale bar, axes, numbers of the grid.

import { spoken } from "dff/measure.js";

const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const AXES = [["X", "#e5686b"], ["Y", "#7cc47f"], ["Z", "#6ea8ff"]];

/** The largest of 1, 2 and 5 times a power of ten that is not more than a limit. */
export function roundBelow(limit) {
  const power = 10 ** Math.floor(Math.log10(limit));
  const factor = [5, 2, 1].find((value) => value * power <= limit * 1.000001);
  return Number((factor * power).toPrecision(12));
}

export class Overlay {
  constructor(canvas, surface, scene) {
    Object.assign(this, { canvas, surface, scene });
    this.marks = [];
    this.cursor = null;
    this.left = 0;
    this.bottom = 0;
    this.right = Infinity;
  }

  draw() {
    const { canvas, scene } = this, ratio = Math.min(window.devicePixelRatio || 1, 2), { size } = scene.camera;
    if (canvas.width !== Math.round(size[0] * ratio) || canvas.height !== Math.round(size[1] * ratio)) {
      canvas.width = Math.round(size[0] * ratio);
      canvas.height = Math.round(size[1] * ratio);
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, ...size);
    context.font = FONT;
    context.textBaseline = "middle";
    this.matrix = scene.camera.matrix();
    if (scene.state.grid) this.drawGridNumbers(context);
    for (const mark of this.marks) this.drawMark(context, mark);
    if (this.brush?.kind) this.brush.drawOver(context, this);
    else if (this.cursor) this.drawCursor(context, this.cursor);
    this.drawScaleBar(context);
    if (this.roomy) this.drawAxes(context);
  }

  /** Keep what is written inside the free part of the screen. */
  within({ left, right, bottom }) {
    Object.assign(this, { left, bottom, right: this.scene.camera.size[0] - right });
  }

  /** Screen place of page coordinates on the surface; null on a hole. */
  placeOf([x, y]) {
    const point = this.surface.at(x, y);
    return point?.known ? this.scene.camera.project(this.surface.position(x, y, this.surface.shownAt(point.place)), this.matrix) : null;
  }

  drawMark(context, { kind, points, label, active }) {
    context.strokeStyle = active ? "#ffc46b" : "#fffffff0";
    context.fillStyle = context.strokeStyle;
    context.lineWidth = active ? 2 : 1.5;
    context.shadowColor = "#000";
    context.shadowBlur = 4;
    const lines = outlines(kind, points).map((line) => this.draped(line));
    lines.forEach((line) => strokeBroken(context, line));
    const ends = points.map((point) => this.placeOf(point)).filter(Boolean);
    if (kind !== "area" && kind !== "step") ends.forEach(([x, y]) => dot(context, x, y));
    context.shadowBlur = 0;
    const seen = lines.flat().filter(Boolean);
    const anchor = kind === "angle" ? ends[1] : kind === "point" ? ends[0] : seen[seen.length >> 1];
    if (label && anchor) pill(context, label, anchor[0] + 10, anchor[1] - 14, active);
  }

  /** A line over the surface: a straight one for distances, following the heights otherwise. */
  draped(line) {
    const places = [];
    for (let i = 0; i + 1 < line.points.length; i++) {
      const [a, b] = [line.points[i], line.points[i + 1]];
      const steps = line.straight ? 1 : Math.min(300, Math.max(1, Math.round(Math.hypot(b[0] - a[0], b[1] - a[1]))));
      for (let k = 0; k <= steps; k++) places.push(this.placeOf([a[0] + ((b[0] - a[0]) * k) / steps, a[1] + ((b[1] - a[1]) * k) / steps]));
    }
    return places;
  }

  drawCursor(context, point) {
    const place = this.placeOf(point);
    if (!place) return;
    context.lineWidth = 3.5;
    context.strokeStyle = "#000a";
    context.beginPath();
    context.arc(place[0], place[1], 5, 0, 7);
    context.stroke();
    context.lineWidth = 1.5;
    context.strokeStyle = "#ffc46b";
    context.stroke();
  }

  drawScaleBar(context) {
    const { camera } = this.scene, { xy_unit: unit } = this.surface.meta;
    const perPixel = camera.worldPerPixel(), length = roundBelow(150 * perPixel), wide = length / perPixel;
    const x = this.left + 20, y = camera.size[1] - this.bottom - 24;
    const text = length >= 1 || unit !== "mm" ? `${length} ${unit}` : `${Number((length * 1000).toPrecision(6))} µm`;
    context.fillStyle = "#e9ecf0";
    context.fillRect(x, y, wide, 2);
    context.fillRect(x, y - 4, 1, 10);
    context.fillRect(x + wide - 1, y - 4, 1, 10);
    context.textAlign = "left";
    context.fillText(camera.perspective ? `${text} at the centre` : text, x, y - 14);
  }

  drawAxes(context) {
    const { camera } = this.scene, rows = camera.rotation(), x = this.left + 60, y = camera.size[1] - this.bottom - 100;
    const order = [0, 1, 2].sort((a, b) => rows[2][a] - rows[2][b]);
    context.fillStyle = "#101317d9";
    context.beginPath();
    context.arc(x, y, 40, 0, 7);
    context.fill();
    context.lineWidth = 2;
    context.textAlign = "center";
    for (const axis of order) {
      const [dx, dy] = [rows[0][axis] * 24, -rows[1][axis] * 24], [name, colour] = AXES[axis];
      context.strokeStyle = context.fillStyle = colour;
      context.globalAlpha = rows[2][axis] < -0.3 ? 0.45 : 1;
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + dx, y + dy);
      context.stroke();
      context.fillText(name, x + dx * 1.42, y + dy * 1.42);
    }
    context.globalAlpha = 1;
    context.textAlign = "left";
  }

  /** Whether a place of the screen is under the axes or the scale bar. */
  isTaken([x, y]) {
    const right = x - this.left, up = this.scene.camera.size[1] - this.bottom - y;
    return (this.roomy && Math.hypot(right - 60, up - 100) < 52) || (right < 190 && up < 62);
  }

  /** Whether there is room for the axes. */
  get roomy() {
    return this.scene.camera.size[1] - this.bottom > 460;
  }

  drawGridNumbers(context) {
    context.fillStyle = "#98a0ab";
    context.textAlign = "center";
    for (const { text, place } of this.numbers?.(this.scene.camera.rotation()) ?? []) {
      const seen = this.scene.camera.project(place, this.matrix), half = context.measureText(text).width / 2 + 4;
      if (seen && seen[1] < this.scene.camera.size[1] - this.bottom - 8 && seen[0] - half > this.left && seen[0] + half < this.right && !this.isTaken(seen)) context.fillText(text, seen[0], seen[1]);
    }
    context.textAlign = "left";
  }

  /** Lines and numbers of the ground grid and the height rule for a box of the world. */
  layGrid([low, high]) {
    const spacing = roundBelow(Math.max(high[0] - low[0], high[1] - low[1]) / 5);
    const between = (axis) => multiples(low[axis], high[axis], spacing), [xs, ys] = [between(0), between(1)];
    const ground = low[2], gap = spacing * 0.25, text = (value) => spoken(value, spacing);
    const lines = [...xs, low[0], high[0]].flatMap((x) => [x, low[1], ground, x, high[1], ground]);
    lines.push(...[...ys, low[1], high[1]].flatMap((y) => [low[0], y, ground, high[0], y, ground]));
    // The model leans from its ground toward where Z points on the screen: the other edges are free of it.
    this.numbers = ([right, up]) => [
      ...xs.map((x) => ({ text: text(x), place: [x, up[2] < -1e-6 ? high[1] + gap : low[1] - gap, ground] })),
      ...ys.map((y) => ({ text: text(y), place: [right[2] < -1e-6 ? high[0] + gap : low[0] - gap, y, ground] })),
    ];
    this.scene.gridLines = [{ lines, ink: [0.62, 0.68, 0.76, 0.2] }];
  }
}

function multiples(low, high, spacing) {
  const first = Math.ceil(low / spacing - 1e-6), last = Math.floor(high / spacing + 1e-6);
  return Array.from({ length: Math.max(last - first + 1, 0) }, (_, i) => (first + i) * spacing);
}

function outlines(kind, points) {
  if (kind === "area" || kind === "step") {
    const areas = [];
    for (let i = 0; i + 1 < points.length; i += 2) {
      const [[x, y], [u, v]] = [points[i], points[i + 1]];
      areas.push({ points: [[x, y], [u, y], [u, v], [x, v], [x, y]] });
    }
    return areas;
  }
  return points.length > 1 ? [{ points, straight: kind !== "profile" }] : [];
}

function strokeBroken(context, places) {
  context.beginPath();
  let down = false;
  for (const place of places) {
    if (place) context[down ? "lineTo" : "moveTo"](place[0], place[1]);
    down = Boolean(place);
  }
  context.stroke();
}

function dot(context, x, y) {
  context.beginPath();
  context.arc(x, y, 3.5, 0, 7);
  context.fill();
}

function pill(context, text, x, y, active) {
  const wide = context.measureText(text).width + 16;
  context.fillStyle = "#0d0f12e6";
  context.beginPath();
  context.roundRect(x, y - 11, wide, 22, 11);
  context.fill();
  context.strokeStyle = active ? "#ffc46b90" : "#ffffff30";
  context.lineWidth = 1;
  context.stroke();
  context.fillStyle = active ? "#ffd79b" : "#f2f4f7";
  context.fillText(text, x + 8, y + 0.5);
}

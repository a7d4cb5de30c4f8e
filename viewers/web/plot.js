// The profile plot: heights along a line, its uncertainty as a band, gaps where nothing was measured.

import { spoken } from "dff/measure.js";

export class Plot {
  constructor(canvas, meta) {
    Object.assign(this, { canvas, meta });
    this.samples = null;
    this.cursor = null;
  }

  show(samples) {
    this.samples = samples;
    this.cursor = null;
    this.draw();
  }

  frame() {
    return { left: 46, right: 10, top: 10, bottom: 26, width: this.canvas.clientWidth, height: this.canvas.clientHeight };
  }

  draw() {
    const { canvas, samples } = this, ratio = Math.min(window.devicePixelRatio || 1, 2), f = this.frame();
    canvas.width = Math.max(2, Math.round(f.width * ratio));
    canvas.height = Math.max(2, Math.round(f.height * ratio));
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.font = "11px system-ui, sans-serif";
    if (!samples) return;
    this.scales(f);
    this.drawTicks(context, f);
    this.drawBand(context);
    this.drawLine(context);
    if (this.cursor !== null) this.drawCursor(context, f);
  }

  scales(f) {
    const known = this.samples.filter((sample) => sample.position), heights = known.map((sample) => sample.z);
    let low = Math.min(...heights), high = Math.max(...heights);
    const room = Math.max((high - low) * 0.08, Math.abs(high) * 1e-6, 1e-9);
    [low, high] = [low - room, high + room];
    this.reach = this.samples[this.samples.length - 1].along || 1;
    this.low = low;
    this.high = high;
    this.x = (along) => f.left + (along / this.reach) * (f.width - f.left - f.right);
    this.y = (z) => f.height - f.bottom - ((z - low) / (high - low)) * (f.height - f.top - f.bottom);
  }

  drawTicks(context, f) {
    const xs = ticks(0, this.reach, 4), ys = ticks(this.low, this.high, 4);
    context.fillStyle = "#8b93a0";
    context.strokeStyle = "#ffffff14";
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const z of ys.values) {
      stroke(context, f.left, this.y(z), f.width - f.right, this.y(z));
      context.fillText(spoken(z, ys.step), f.left - 6, this.y(z));
    }
    context.textAlign = "center";
    for (const along of xs.values) context.fillText(spoken(along, xs.step), this.x(along), f.height - f.bottom + 10);
    context.textAlign = "left";
    context.fillText(`Z ${this.meta.z_unit}`, f.left + 4, f.top + 2);
    context.textAlign = "right";
    context.fillText(`along ${this.meta.xy_unit}`, f.width - f.right, f.height - 5);
  }

  drawBand(context) {
    context.fillStyle = "#ffc46b2a";
    for (const run of this.runs()) {
      context.beginPath();
      run.forEach((sample) => context.lineTo(this.x(sample.along), this.y(Math.min(sample.z + (sample.sigma || 0), this.high))));
      run.slice().reverse().forEach((sample) => context.lineTo(this.x(sample.along), this.y(Math.max(sample.z - (sample.sigma || 0), this.low))));
      context.fill();
    }
  }

  drawLine(context) {
    context.strokeStyle = "#ffc46b";
    context.lineWidth = 1.5;
    context.lineJoin = "round";
    for (const run of this.runs()) {
      context.beginPath();
      run.forEach((sample) => context.lineTo(this.x(sample.along), this.y(sample.z)));
      context.stroke();
    }
  }

  runs() {
    const runs = [];
    let run = [];
    for (const sample of [...this.samples, { position: null }]) {
      if (sample.position) run.push(sample);
      else if (run.length) { runs.push(run); run = []; }
    }
    return runs;
  }

  drawCursor(context, f) {
    const sample = this.samples[this.cursor];
    context.strokeStyle = "#ffffff60";
    stroke(context, this.x(sample.along), f.top, this.x(sample.along), f.height - f.bottom);
    if (!sample.position) return;
    context.fillStyle = "#fff";
    context.beginPath();
    context.arc(this.x(sample.along), this.y(sample.z), 3, 0, 7);
    context.fill();
  }

  /** Nearest sample to a place in CSS px. */
  sampleAt(x) {
    if (!this.samples || !this.x) return null;
    const f = this.frame(), share = (x - f.left) / (f.width - f.left - f.right);
    this.cursor = Math.min(this.samples.length - 1, Math.max(0, Math.round(share * (this.samples.length - 1))));
    this.draw();
    return this.samples[this.cursor];
  }
}

export function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((value) => value * power).find((value) => value >= raw * 0.999);
  const values = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high * (1 + 1e-9) + 1e-12; k++) values.push(Number((k * step).toPrecision(12)));
  return { step, values };
}

function stroke(context, x, y, u, v) {
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(u, v);
  context.stroke();
}

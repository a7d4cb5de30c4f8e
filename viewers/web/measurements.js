// The list of what was measured: taking places, showing them, keeping them.

import { measure, profileSamples, spokenQuantity, TOOLS } from "dff/measure.js";

export class Measurements {
  constructor(app) {
    this.app = app;
    this.entries = [];
    this.tool = null;
    this.pending = [];
    this.active = -1;
    this.onchange = () => {};
  }

  // ---- taking

  start(tool) {
    if (!this.app.isComplete) return;
    this.tool = this.tool === tool ? null : tool;
    if (this.tool) this.app.brush.choose(null);
    this.pending = [];
    this.app.hint(this.tool ? TOOLS[this.tool].hint : null);
    this.show();
  }

  get needsDrag() {
    return ["profile", "area", "step"].includes(this.tool);
  }

  /** A place was chosen, in page coordinates; null is a hole. */
  take(place) {
    if (!this.tool) return;
    if (!place) return this.app.hint("There is no surface here.", true);
    this.pending.push(place);
    const { points, hint } = TOOLS[this.tool];
    if (this.pending.length < points) {
      this.app.hint(`${hint} (${this.pending.length} of ${points})`);
      return this.show();
    }
    this.add(this.tool, this.pending.splice(0));
  }

  /** Measure and list; gives the entry, or null where it cannot be measured. */
  add(kind, points) {
    const { surface } = this.app;
    try {
      const { values } = measure(surface, kind, points);
      const number = this.entries.filter((entry) => entry.kind === kind).length + 1;
      this.entries.push({ kind, name: `${TOOLS[kind].title} ${number}`, points: points.map((point) => surface.toResult(point)), values });
      this.active = this.entries.length - 1;
      if (this.tool) this.app.hint(TOOLS[this.tool].hint);
      this.keep();
      return this.entries[this.active];
    } catch (error) {
      this.app.hint(error.message, true);
      return null;
    } finally {
      this.show();
    }
  }

  remove(k) {
    this.entries.splice(k, 1);
    this.active = Math.min(this.active, this.entries.length - 1);
    this.keep();
    this.show();
  }

  undo() {
    if (this.pending.length) this.pending.pop();
    else if (this.entries.length) return this.remove(this.entries.length - 1);
    this.show();
  }

  select(k) {
    this.active = k;
    this.show();
  }

  // ---- showing

  /** The place under the pointer, for the line that is being drawn. */
  follow(place) {
    if (!this.tool || !this.pending.length) return;
    this.moving = place;
    this.mark();
  }

  show() {
    this.moving = null;
    this.mark();
    this.onchange();
  }

  mark() {
    const { app } = this, { surface } = app;
    const marks = this.entries.map(({ kind, points, values }, k) => ({
      kind, points: points.map((point) => surface.fromResult(point)), active: k === this.active, label: spokenQuantity(values[0]),
    }));
    if (this.pending.length) marks.push({ kind: this.tool, points: this.moving ? [...this.pending, this.moving] : this.pending, active: true });
    app.overlay.marks = app.picture ? (app.picture.marks = marks) : marks;
    app.overlay.draw();
    app.picture?.request();
  }

  /** Samples of the chosen profile, or null. */
  profile() {
    const entry = this.entries[this.active];
    if (entry?.kind !== "profile") return null;
    return profileSamples(this.app.surface, entry.points.map((point) => this.app.surface.fromResult(point)));
  }

  // ---- keeping: in the result folder where the page is served, else in the browser

  get place() {
    const { title, size, names } = this.app.meta;
    return `dff:${title}:${size}:${names[0]}`;
  }

  async keep() {
    const text = JSON.stringify({ format: "dff-measurements", version: 1, units: { xy: this.app.meta.xy_unit, z: this.app.meta.z_unit }, measurements: this.entries });
    if (!this.app.meta.served) return keepInBrowser(this.place, text);
    this.saving = fetch("measurements.json", { method: "PUT", body: text, headers: { "Content-Type": "application/json" } })
      .then((answer) => { if (!answer.ok) this.app.hint("The measurements could not be saved in the result folder.", true); })
      .catch(() => this.app.hint("The measurements could not be saved: the server has stopped.", true));
    return this.saving;
  }

  restore() {
    const stored = this.app.meta.measurements ?? (this.app.meta.served ? null : fromBrowser(this.place));
    this.entries = stored?.measurements ?? [];
    this.active = -1;
    this.show();
  }
}

function keepInBrowser(place, text) {
  try {
    localStorage.setItem(place, text);
  } catch {
    // A page opened from disk may have no storage: the list then lasts as long as the page.
  }
}

function fromBrowser(place) {
  try {
    return JSON.parse(localStorage.getItem(place));
  } catch {
    return null;
  }
}

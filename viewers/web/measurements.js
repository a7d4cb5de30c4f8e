// The list of what was measured: taking places, showing them, keeping them.

import { fromBrowser, keepInBrowser, merged, put } from "dff/keeping.js";
import { headline, measure, profileSamples, TOOLS } from "dff/measure.js";

const TRIES = 4;

export class Measurements {
  constructor(app) {
    this.app = app;
    this.entries = [];
    this.tool = null;
    this.pending = [];
    this.active = -1;
    this.onchange = () => {};
    this.base = []; // as it is kept
    this.saving = Promise.resolve();
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
    const marks = this.entries.map((entry, k) => ({
      kind: entry.kind, points: entry.points.map((point) => surface.fromResult(point)), active: k === this.active, label: headline(entry).text,
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
    const { title, frame_size: size, names } = this.app.meta;
    return `dff:${title}:${size}:${names[0]}`;
  }

  get content() {
    const { xy_unit: xy, z_unit: z } = this.app.meta;
    return { format: "dff-measurements", version: 1, units: { xy, z }, measurements: this.entries };
  }

  /** Keep the list; what was measured in another window meanwhile is in it too. */
  keep() {
    this.saving = this.saving.then(() => (this.app.meta.served ? this.send() : this.keepHere()))
      .catch(() => this.app.hint("The measurements could not be saved: the server has stopped.", true));
    return this.saving;
  }

  keepHere() {
    const stored = fromBrowser(this.place);
    if (stored) this.join(stored);
    keepInBrowser(this.place, this.content);
    this.base = this.entries.slice();
  }

  async send() {
    for (let tries = 0; tries < TRIES; tries++) {
      const sent = this.entries.slice(), { answer, version, isOutdated } = await put("measurements.json", this.content, this.version);
      this.version = version;
      if (isOutdated) this.join(await answer.json());
      else if (answer.ok) return void (this.base = sent);
      else break;
    }
    this.app.hint("The measurements could not be saved in the result folder.", true);
  }

  /** Take over what another window measured. */
  join(stored) {
    const theirs = stored?.measurements ?? [], chosen = JSON.stringify(this.entries[this.active]);
    this.entries = merged(this.base, this.entries, theirs);
    this.base = theirs;
    this.active = this.entries.findIndex((entry) => JSON.stringify(entry) === chosen);
    this.show();
  }

  restore() {
    const { meta } = this.app, stored = meta.served ? meta.measurements : fromBrowser(this.place);
    this.entries = stored?.measurements ?? [];
    this.base = this.entries.slice();
    this.version = meta.kept?.measurements;
    this.active = -1;
    this.show();
  }
}

// A run that is still going: what it has found so far comes into the page as it is found.

import { buildLook } from "dff/panels.js";
import { make } from "dff/widgets.js";

const PAUSE_MS = 400;
const MISSES = 5;
const KEPT = "dff:view";
const STAGES = {
  "find the order": "Find the order", "read frames": "Read frames", align: "Align", warp: "Move frames", "measure focus": "Measure focus",
  label: "Coarse depth", "refine depth": "Refine depth", fuse: "Sharp picture", points: "Point cloud", mesh: "Mesh", previews: "Previews", write: "Result files",
};
const EXPECTED = Object.keys(STAGES).slice(1);

/** Fill the page while its run goes; in the page of a result, go on with the view that its run had. */
export function attend(app) {
  if (app.meta.live) follow(app);
  else if (app.meta.served) resume(app);
}

async function follow(app) {
  const card = new Card(document.getElementById("stage")), growth = new Growth(app);
  for (let missed = 0; missed < MISSES; await new Promise((done) => setTimeout(done, PAUSE_MS))) {
    const state = await ask("state", "json").catch(() => null);
    missed = state ? 0 : missed + 1;
    if (!state) continue;
    if (state.done) return leave(app);
    card.show(state);
    await growth.take(state).catch(() => null);
    if (growth.surfaceIsThere) card.stepAside();
  }
  card.stopped();
}

async function ask(part, kind) {
  const answer = await fetch(`live/${part}`);
  if (!answer.ok) throw new Error(`${part}: ${answer.status}`);
  return answer[kind]();
}

/** Brings what is new into the application. */
class Growth {
  constructor(app) {
    this.app = app;
    this.seen = { meta: 0, maps: 0, picture: 0 };
    this.shown = new Set();
    this.surfaceIsThere = false;
    this.touched = false;
    this.opening = { ...app.camera };
    document.getElementById("link").addEventListener("pointerdown", () => { this.touched = true; }, true);
  }

  async take({ frames, versions }) {
    const fresh = frames.filter((k) => !this.shown.has(k));
    for (const k of fresh) await this.takeFrame(k);
    if (fresh.length && !this.touched) this.showFrame(fresh[fresh.length - 1]);
    const changed = Object.keys(versions).filter((part) => versions[part] !== this.seen[part]);
    if (!changed.length) return;
    await this.takeSurface(changed);
    this.seen = versions;
  }

  async takeFrame(k) {
    const { surface, picture } = this.app;
    surface.frames[k] = await ask(`frame/${k}`, "blob");
    picture.bitmaps.delete(k);
    this.shown.add(k);
    picture.request();
  }

  /** The latest frame in the picture and on the slider, until the user takes over. */
  showFrame(k) {
    document.querySelector('#link [data-value="frames"]')?.click();
    this.app.setFocus(k);
  }

  async takeSurface(changed) {
    const { app } = this, { surface } = app;
    const [meta, maps, picture] = await Promise.all([
      changed.includes("maps") || changed.includes("meta") ? ask("meta", "json") : null,
      changed.includes("maps") ? ask("maps", "arrayBuffer") : null,
      changed.includes("picture") ? ask("picture", "blob").then((blob) => createImageBitmap(blob, { colorSpaceConversion: "none" })) : null,
    ]);
    if (meta) Object.assign(app.meta, meta, { live: true, served: true, colour_maps: app.meta.colour_maps });
    if (maps) this.spread(maps);
    if (picture) surface.picture = picture;
    surface.updateDrawn();
    app.scene.renew();
    if (meta) this.reframe(changed.includes("meta"));
    if (maps && !this.surfaceIsThere) this.showSurface();
    app.picture.request();
  }

  spread(buffer) {
    const { surface } = this.app, count = surface.width * surface.height;
    surface.index = new Uint16Array(buffer, 0, count);
    ["confidence", "sigma", "flags"].forEach((name, i) => { surface[name] = new Uint8Array(buffer, (2 + i) * count, count); });
  }

  /** Ranges, relief and grid are those of what is known now. */
  reframe(controls) {
    const { app } = this, { scene } = app;
    if (controls) {
      const { mode, points } = scene.state;
      app.camera.relief = app.meta.relief;
      buildLook(app, document.getElementById("look"));
      app.controls.mode(mode);
      app.controls.points(points);
    }
    app.overlay.layGrid(app.meta.box);
    const { turn, tilt } = app.camera;
    if (app.framed && turn === this.opening.turn && tilt === this.opening.tilt) this.home();
    else if (app.framed) app.reframe();
    app.drawLegend();
  }

  home() {
    this.app.home();
    this.opening = { ...this.app.camera };
  }

  showSurface() {
    this.surfaceIsThere = true;
    if (this.touched) return;
    document.querySelector('#link [data-value="picture"]')?.click();
    this.app.setFocus(null);
  }
}

/** The stages of the run, and how well the frames are registered. */
class Card {
  constructor(stage) {
    this.list = make("ol");
    this.title = make("span", {}, "Reconstructing");
    this.caption = make("span");
    this.chart = make("canvas");
    this.figure = make("figure", { hidden: true }, this.caption, this.chart);
    this.element = make("div", { id: "live", role: "status" }, make("h2", {}, make("span", { className: "mark" }), this.title), this.list, this.figure);
    stage.append(this.element);
  }

  show({ stages, residual_px: residual }) {
    const begun = new Map(stages.map(([name, done, total]) => [name, { done, total }]));
    const last = stages.length ? stages[stages.length - 1][0] : null;
    const names = [...new Set([...(begun.has("find the order") ? ["find the order"] : []), ...EXPECTED, ...begun.keys()])];
    this.list.replaceChildren(...names.map((name) => stageRow(STAGES[name] ?? name, begun.get(name), name === last)));
    if (residual.length && !this.caption.textContent) this.drawResidual(residual);
  }

  drawResidual(residual) {
    const known = residual.filter((value) => value !== null), rms = Math.hypot(...known) / Math.sqrt(known.length), most = Math.max(...known, 1e-6);
    this.caption.textContent = `Registered to ${rms.toFixed(2)} px rms; frame by frame, up to ${most.toFixed(2)} px`;
    this.figure.hidden = false;
    const { chart } = this, ratio = Math.min(window.devicePixelRatio || 1, 2), context = chart.getContext("2d");
    [chart.width, chart.height] = [chart.clientWidth * ratio, chart.clientHeight * ratio];
    const wide = chart.width / residual.length;
    residual.forEach((value, k) => {
      context.fillStyle = value === null ? "#ffffff18" : "#ffb454";
      const tall = value === null ? ratio : Math.max(ratio, (value / most) * chart.height);
      context.fillRect(k * wide, chart.height - tall, Math.max(1, wide - ratio), tall);
    });
  }

  stepAside() {
    this.element.classList.add("aside");
    this.figure.hidden = true;
  }

  stopped() {
    this.element.classList.add("wrong");
    this.title.textContent = "The run has ended early; the terminal says why";
  }
}

function stageRow(title, progress, now) {
  const over = progress && progress.done >= progress.total;
  const bar = make("progress", { max: progress?.total || 1, value: progress ? (progress.total ? progress.done : 1) : 0 });
  const className = [progress && "begun", over && "over", now && "now"].filter(Boolean).join(" ");
  return make("li", { className }, make("span", {}, title), bar, make("span", {}, !progress ? "" : over ? "done" : `${progress.done} / ${progress.total}`));
}

// ---- from the run to its result

/** Load the page again, with the view as it is. */
export function leave({ camera, framed, scene, picture: { zoom, centre, layer } }) {
  const { turn, tilt, target, distance, perspective } = camera, { mode, points } = scene.state;
  try {
    sessionStorage.setItem(KEPT, JSON.stringify({ turn, tilt, target, distance, perspective, framed, mode, points, wide: document.body.classList.contains("wide"), picture: { zoom, centre, layer } }));
  } catch {
    // Without storage the result opens with its own view.
  }
  location.reload();
}

function resume(app) {
  let kept = null;
  try {
    kept = JSON.parse(sessionStorage.getItem(KEPT));
    sessionStorage.removeItem(KEPT);
  } catch {
    // As above.
  }
  if (!kept) return;
  document.body.classList.toggle("wide", kept.wide);
  app.picture.resize();
  document.querySelector(`#link [data-value="${kept.picture.layer}"]`)?.click();
  Object.assign(app.picture, kept.picture);
  app.controls.mode(kept.mode);
  app.controls.points(kept.points);
  app.controls.perspective(kept.perspective);
  if (kept.framed) return app.look(kept.turn, kept.tilt);
  Object.assign(app.camera, { turn: kept.turn, tilt: kept.tilt, target: kept.target, distance: kept.distance });
  app.moved();
}

// The viewer: one model, seen in the round and flat, measured in both.

import { Brush } from "dff/brush.js";
import { VIEWS } from "dff/camera.js";
import { readPage } from "dff/data.js";
import { Edits } from "dff/edits.js";
import { measurementsCsv, profileCsv, save, viewPng, visiblePly } from "dff/exports.js";
import { followKeys, followPointer, followPicture } from "dff/gestures.js";
import { attend } from "dff/live.js";
import { drawLegend } from "dff/legend.js";
import { spokenQuantity, spoken } from "dff/measure.js";
import { Measurements } from "dff/measurements.js";
import { Overlay } from "dff/overlay.js";
import { buildBar, buildLink, buildLook } from "dff/panels.js";
import { Picture } from "dff/picture.js";
import { Scene } from "dff/scene.js";
import { Sources } from "dff/sources.js";
import { Surface } from "dff/surface.js";

const NUMBERS_PX = 22; // beside the model, for the numbers of the grid

const byId = (id) => document.getElementById(id);

export class App {
  constructor(page) {
    this.meta = page.meta;
    this.surface = new Surface(page);
    this.scene = new Scene(byId("view"), this.surface);
    this.camera = this.scene.camera;
    this.camera.relief = this.meta.relief;
    this.overlay = new Overlay(byId("overlay"), this.surface, this.scene);
    this.measurements = new Measurements(this);
    buildBar(this, byId("bar"));
    buildLook(this, byId("look"));
    this.picture = new Picture(buildLink(this, byId("link")), this.surface, this.scene);
    this.edits = new Edits(this);
    this.picture.sources = new Sources(this);
    this.brush = new Brush(this, byId("link"));
    this.overlay.layGrid(this.meta.box);
    this.scene.listeners.push(() => this.overlay.draw());
    this.scene.survive((lost) => this.hint(lost ? "The graphics driver was reset: the model comes back as soon as it does." : null, lost));
    followPointer(this, byId("view"));
    followPicture(this, this.picture.canvas);
    followKeys(this);
    new ResizeObserver(() => this.resize()).observe(byId("stage"));
    new ResizeObserver(() => this.picture.resize()).observe(this.picture.canvas);
    this.resize();
    this.home();
    this.picture.resize();
    this.showReadout(null);
    this.measurements.restore();
  }

  /** Take the whole page in place of the coarse one, if that is what the first picture was made of. */
  complete(page) {
    if (page) {
      const centre = this.surface.toResult(this.picture.centre);
      Object.assign(this.meta, page.meta);
      this.surface.take({ ...page, meta: this.meta });
      this.picture.centre = this.surface.fromResult(centre);
      this.picture.hold();
      this.scene.renew();
      this.controls.smooth(this.scene.restful);
      this.hover(null);
    }
    this.isComplete = true;
    this.edits.restore();
  }

  // ---- the view

  resize() {
    this.scene.resize();
    if (this.framed) this.reframe();
    this.drawLegend();
  }

  free() {
    const seen = (id) => byId(id).getBoundingClientRect(), [look, link] = [seen("look"), seen("link")];
    const narrow = matchMedia("(max-width: 760px)").matches, sheet = narrow && link.top > innerHeight / 4 ? link.height : 0;
    return { left: narrow ? 0 : look.width, right: narrow ? 0 : link.width, top: seen("bar").height, bottom: seen("readout").height + sheet };
  }

  /** Show or hide a panel of a narrow screen; the other one goes. */
  togglePanel(name) {
    const { classList } = document.body, shown = classList.toggle(name);
    if (shown) classList.remove(name === "look" ? "link" : "look");
    this.moveAside();
  }

  /** Give the picture more room, or less. */
  toggleWide() {
    document.body.classList.toggle("wide");
    this.moveAside();
  }

  /** Keep the view in the free part of the screen after panels changed. */
  moveAside() {
    if (this.framed) return this.reframe();
    const free = this.free();
    this.overlay.within(free);
    this.camera.centre(free);
    this.scene.request();
  }

  look(turn, tilt) {
    const free = this.free();
    this.overlay.within(free);
    const room = this.scene.state.grid ? NUMBERS_PX : 0, inner = { left: free.left + room, right: free.right + room, top: free.top + room, bottom: free.bottom + room };
    this.camera.fit(this.meta.box, this.surface.landmarks(this.meta.box), turn, tilt, inner);
    this.framed = true;
    this.scene.request();
  }

  /** The view a page opens with: from the side that the surface faces. */
  home() {
    const [x, y] = this.meta.facing ?? [0, 0];
    this.look(x > 0.05 ? -24 : 24, y > 0.05 ? -34 : 34);
  }

  preset(name) {
    this.look(...VIEWS[name]);
  }

  reframe() {
    this.look(this.camera.turn, this.camera.tilt);
  }

  moved() {
    this.framed = false;
    this.scene.request();
  }

  set(changes) {
    Object.assign(this.scene.state, changes);
    this.drawLegend();
    this.scene.request();
    this.picture.request();
  }

  setRelief(relief) {
    this.camera.relief = relief;
    if (this.framed) this.reframe();
    this.scene.request();
  }

  setThreshold(changes) {
    Object.assign(this.surface, changes);
    this.surface.updateDrawn();
    this.scene.updateDrawn();
    this.drawLegend();
    this.picture.request();
  }

  setClip(axis, range) {
    this.surface.clip[axis] = range;
    this.scene.request();
  }

  setPerspective(perspective) {
    this.camera.perspective = perspective;
    this.scene.request();
  }

  /** Show frame k: light its band on the model and move the frames view there; null lights nothing. */
  setFocus(k) {
    this.focus?.(k);
    this.brush?.tell();
    this.set({ focus: k === null ? -1 : k });
  }

  drawLegend() {
    drawLegend(byId("legend"), this.scene, this.meta);
  }

  toggleFull() {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen?.();
  }

  // ---- the cursor, everywhere at once

  /** Page coordinates under the pointer, or null. */
  hover(place) {
    const point = place && this.surface.at(...place);
    this.overlay.cursor = this.picture.cursor = point?.known ? place : null;
    if (point && !point.known) this.picture.cursor = place;
    this.overlay.draw();
    this.picture.request();
    this.showReadout(point);
    this.measurements.follow(place);
  }

  readoutOf(point) {
    const { meta } = this;
    if (!point) return null;
    const [column, row] = this.surface.toResult([point.x, point.y]);
    const pixel = { name: "Pixel", text: `${column}, ${row}` };
    if (!point.known) return [pixel, { name: "", text: "not measured" }];
    const [x, y, z] = point.position;
    const fine = this.scene.pixelSize() / 2;
    return [
      { name: "X", text: `${spoken(x, fine)} ${meta.xy_unit}` }, { name: "Y", text: `${spoken(y, fine)} ${meta.xy_unit}` },
      { name: "Z", text: spokenQuantity({ value: z, unit: meta.z_unit, uncertainty: point.sigma }) },
      { name: "Confidence", text: `${Math.round(100 * point.confidence)} %` }, { name: "Frame", text: point.index.toFixed(2) }, pixel,
    ];
  }

  showReadout(point) {
    const items = this.readoutOf(point);
    byId("readout").replaceChildren(...(items ?? [{ name: "Point at the surface to read it", rest: true }]).map(({ name, text, rest }) => {
      const item = document.createElement("span");
      item.textContent = rest ? name : `${name} `;
      if (rest) item.className = "rest";
      else item.append(Object.assign(document.createElement("b"), { textContent: text }));
      return item;
    }));
  }

  hint(text, wrong = false) {
    const hint = byId("hint");
    hint.hidden = !text;
    hint.textContent = text ?? "";
    hint.classList.toggle("wrong", wrong);
  }

  // ---- files

  async savePng() {
    await this.scene.settled();
    const legend = this.scene.state.mode === "picture" ? null : byId("legend");
    const ratio = this.scene.canvas.width / this.camera.size[0];
    save(await viewPng([byId("view"), byId("overlay")], legend, this.free(), ratio), `${this.meta.title}.png`);
  }

  savePly() {
    save(visiblePly(this.surface), `${this.meta.title}-visible.ply`);
  }

  saveCsv() {
    save(new Blob([measurementsCsv(this.measurements.entries)], { type: "text/csv" }), `${this.meta.title}-measurements.csv`);
  }

  saveEdits() {
    save(new Blob([JSON.stringify(this.edits.content)], { type: "application/json" }), "edits.json");
  }

  saveProfile(samples) {
    save(new Blob([profileCsv(samples, this.meta)], { type: "text/csv" }), `${this.meta.title}-profile.csv`);
  }
}

async function start() {
  const loading = byId("loading");
  try {
    if (typeof DecompressionStream === "undefined") throw new Error("This browser is too old for this page: use a Firefox, Chrome, Edge or Safari from 2023 or later.");
    const { page, rest } = await readPage(), app = (window.dff = new App(page));
    await app.scene.first;
    app.loadMs = performance.now();
    loading.classList.add("done");
    app.complete(await rest());
    app.wholeMs = performance.now();
    document.documentElement.dataset.ready = "true";
    attend(app);
  } catch (error) {
    loading.classList.add("wrong");
    loading.querySelector("p").textContent = error.message;
    document.documentElement.dataset.ready = "failed";
    throw error;
  }
}

start();

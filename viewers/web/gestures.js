// Mouse, touch and keyboard.

import { TOOLS } from "dff/measure.js";
import { MODES } from "dff/scene.js";

const CLICK_PX = 4;

/** Places of the pointers on an element, and what two of them do together. */
class Pointers {
  constructor(element) {
    this.element = element;
    this.places = new Map();
  }

  placeOf(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  pinch() {
    const [a, b] = [...this.places.values()];
    return { centre: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], span: Math.hypot(b[0] - a[0], b[1] - a[1]) };
  }
}

/** Orbit, pan, zoom, and picking on the model. */
export function followPointer(app, canvas) {
  follow(canvas, {
    brush: app.brush,
    place: (place) => app.scene.pick(...place),
    drag: (dx, dy, event) => {
      if (event.buttons & 6 || event.shiftKey || event.ctrlKey) app.camera.pan(dx, dy);
      else app.camera.orbit(dx, dy);
      app.moved();
    },
    pinch: (dx, dy, factor, centre) => {
      app.camera.pan(dx, dy);
      app.camera.zoom(factor, ...centre);
      app.moved();
    },
    wheel: (factor, place) => { app.camera.zoom(factor, ...place); app.moved(); },
    hover: (place) => app.hover(place && app.scene.pick(...place)),
    click: (place) => {
      const found = app.scene.pick(...place);
      app.hover(found);
      app.measurements.take(found);
    },
    double: (place) => {
      const found = app.scene.pick(...place), point = found && app.surface.at(...found);
      if (!point?.known || app.measurements.tool || app.brush.kind) return;
      app.camera.target = point.position;
      app.camera.distance *= 0.6;
      app.moved();
    },
  });
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** While measuring or painting, arrows move the cursor over the picture; the space bar or enter takes the place. */
function followPictureKeys(app, canvas) {
  const { surface, brush, measurements } = app;
  const step = (fine) => brush.kind ? Math.max(1, brush.radius / surface.meta.stride / (fine ? 8 : 2)) : fine ? 1 : Math.max(1, surface.width / 100);
  canvas.addEventListener("keydown", (event) => {
    if (!(brush.kind || measurements.tool) || event.ctrlKey || event.altKey || event.metaKey) return;
    const move = ARROWS[event.key]?.map((value) => value * step(event.shiftKey)), place = app.picture.cursor ?? [surface.width / 2, surface.height / 2];
    if (move) app.hover([surface.width, surface.height].map((side, i) => Math.min(Math.max(place[i] + move[i], 0), side - 1)));
    else if (event.key !== " " && event.key !== "Enter") return;
    else if (brush.kind) brush.dab(place);
    else measurements.take(place);
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Zoom, pan and picking on the picture. */
export function followPicture(app, canvas) {
  followPictureKeys(app, canvas);
  const { picture } = app;
  const inside = (place) => {
    const [x, y] = picture.toPage(...place);
    return x > -0.5 && y > -0.5 && x < app.surface.width - 0.5 && y < app.surface.height - 0.5 ? [x, y] : null;
  };
  follow(canvas, {
    brush: app.brush,
    place: (place) => picture.toPage(...place),
    drag: (dx, dy) => picture.pan(dx, dy),
    pinch: (dx, dy, factor, centre) => { picture.pan(dx, dy); picture.zoomAt(1 / factor, ...centre); },
    wheel: (factor, place) => picture.zoomAt(1 / factor, ...place),
    hover: (place) => app.hover(place && inside(place)),
    click: (place) => {
      app.hover(inside(place));
      app.measurements.take(inside(place));
    },
    double: () => {
      if (app.measurements.tool || app.brush.kind) return;
      picture.zoom = 1;
      picture.hold();
    },
  });
}

function follow(canvas, act) {
  const pointers = new Pointers(canvas);
  let travelled = 0, painting = false;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    pointers.places.set(event.pointerId, pointers.placeOf(event));
    travelled = pointers.places.size > 1 ? Infinity : 0;
    if (painting) painting = act.brush.cancel();
    else if (pointers.places.size === 1 && event.button === 0 && !event.shiftKey && !event.ctrlKey) painting = act.brush.begin(act.place(pointers.placeOf(event)), event.altKey);
    canvas.classList.add("turning");
  });
  canvas.addEventListener("pointermove", (event) => {
    const place = pointers.placeOf(event), before = pointers.places.get(event.pointerId);
    if (!before) return act.hover(place);
    const both = pointers.places.size === 2 ? pointers.pinch() : null;
    pointers.places.set(event.pointerId, place);
    if (painting) {
      for (const part of event.getCoalescedEvents?.() ?? []) act.brush.move(act.place(pointers.placeOf(part)));
      act.brush.move(act.place(place));
      return act.hover(place);
    }
    if (both) {
      const now = pointers.pinch();
      return act.pinch(now.centre[0] - both.centre[0], now.centre[1] - both.centre[1], both.span / Math.max(now.span, 1), now.centre);
    }
    travelled += Math.hypot(place[0] - before[0], place[1] - before[1]);
    if (travelled > CLICK_PX) act.drag(place[0] - before[0], place[1] - before[1], event);
  });
  const end = (event) => {
    if (!pointers.places.delete(event.pointerId)) return;
    if (painting) {
      if (event.type === "pointerup") act.brush.end();
      else act.brush.cancel();
      painting = false;
    } else if (event.type === "pointerup" && travelled <= CLICK_PX && event.button === 0) act.click(pointers.placeOf(event));
    if (!pointers.places.size) canvas.classList.remove("turning");
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", () => { if (!pointers.places.size) act.hover(null); });
  canvas.addEventListener("dblclick", (event) => act.double(pointers.placeOf(event)));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
    act.wheel(Math.exp(Math.max(-160, Math.min(160, pixels)) * 0.0016), pointers.placeOf(event));
  }, { passive: false });
}

/** Keys, in the order the help lists them. */
export const KEYS = {
  "Arrows": "turn; with Shift: move",
  "+  −": "closer, farther",
  "1 … 6": "front, left, right, above, below, back",
  "H": "opening view",
  "P": "perspective or parallel",
  "M": "surface or points",
  "C": "next colours",
  "G": "grid",
  "[  ]": "previous, next frame in focus",
  "D  A  L  S  R  T": "distance, angle, profile, step, area, point",
  "Arrows, Space": "in the picture, while measuring or painting: move the cursor, take the place; with Shift: finely",
  "B  V": "brush on and off, next layer of the picture",
  ",  .": "smaller, larger brush",
  "Esc": "stop measuring or painting",
  "Ctrl Z": "take the last measurement or stroke back; with Shift: again",
  "W": "larger picture",
  "Tab ⇥ / U": "reach every control / hide the panels",
  "F": "full screen",
};

const TOOL_KEYS = { d: "distance", a: "angle", l: "profile", s: "step", r: "area", t: "point" };

export function followKeys(app) {
  const { camera } = app;
  const turn = (dx, dy) => () => { camera.orbit(dx, dy); app.moved(); };
  const pan = (dx, dy) => () => { camera.pan(dx, dy); app.moved(); };
  const zoom = (factor) => () => { camera.zoom(factor, camera.size[0] / 2, camera.size[1] / 2); app.moved(); };
  const actions = {
    ArrowLeft: turn(-16, 0), ArrowRight: turn(16, 0), ArrowUp: turn(0, -16), ArrowDown: turn(0, 16),
    "+": zoom(0.85), "=": zoom(0.85), "-": zoom(1 / 0.85), h: () => app.home(), f: () => app.toggleFull(),
    p: () => app.controls.perspective(!camera.perspective), m: () => app.controls.points(!app.scene.state.points),
    c: () => app.controls.mode(MODES[(MODES.indexOf(app.scene.state.mode) + 1) % MODES.length]), g: () => app.controls.grid(!app.scene.state.grid),
    "[": () => app.controls.step(-1), "]": () => app.controls.step(1), Escape: () => { if (app.measurements.tool) app.measurements.start(app.measurements.tool); app.brush.choose(null); },
    b: () => app.brush.toggle(), v: () => app.brush.nextLayer(), ",": () => app.brush.scale(0.8), ".": () => app.brush.scale(1.25),
    "?": () => document.getElementById("help").showModal(), u: () => { document.body.classList.toggle("bare"); app.moveAside(); }, w: () => app.toggleWide(),
  };
  ["front", "left", "right", "above", "below", "back"].forEach((name, i) => { actions[String(i + 1)] = () => app.preset(name); });
  for (const [key, tool] of Object.entries(TOOL_KEYS)) if (TOOLS[tool]) actions[key] = () => app.measurements.start(tool);
  const shifted = { ArrowLeft: pan(-30, 0), ArrowRight: pan(30, 0), ArrowUp: pan(0, -30), ArrowDown: pan(0, 30) };
  window.addEventListener("keydown", (event) => {
    if (event.target.closest?.("input, select, dialog") || event.altKey || event.metaKey) return;
    if (event.ctrlKey) {
      const back = app.brush.kind ? app.edits : app.measurements, key = event.key.toLowerCase();
      if (key !== "z" && key !== "y") return;
      event.preventDefault();
      if (key === "z" && !event.shiftKey) back.undo();
      else back.redo?.();
      return;
    }
    const action = (event.shiftKey && shifted[event.key]) || actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

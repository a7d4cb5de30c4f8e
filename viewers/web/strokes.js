// What a stroke of the brush does to the maps of a page: the same rules as dff/edits.py and dff/pipeline/retouching.py.

import { ACROSS, DOWN, STRAY } from "dff/surface.js";

const RIM_PX = 4; // a filled area is held by what is known this close to it
const HAND_CONFIDENCE = 0.5;
const HAND_SIGMA_FRAMES = 0.5;
const SWEEPS = 48; // of each level of a membrane
const OVER = 1.5; // how far each sweep goes beyond the mean of the neighbours

/** Kinds of strokes, as edits.json names them. */
export const KINDS = {
  frame: { title: "Frame", hint: "Paint where the frame of the slider is the right one. Alt-click takes the frame from there; V shows picture or frame.", colour: "#ffb454" },
  fill: { title: "From around", hint: "Paint where the depth shall be laid between what is known around it.", colour: "#63d69a" },
  unknown: { title: "Unknown", hint: "Paint where there is no depth: a hole.", colour: "#ff7a6b" },
  nearer: { title: "Nearer", hint: "Paint where something farther shines through. Only marked here: the nearer depth is measured when the edits are applied.", colour: "#6ea8ff" },
  farther: { title: "Farther", hint: "Paint where something nearer stands before it. Only marked here: the farther depth is measured when the edits are applied.", colour: "#c08bff" },
};

/** Kinds whose outcome only `dff apply` knows. */
export const UNSEEN = ["nearer", "farther"];

/** Distance from the path, in px of the result, within which a pixel belongs to a stroke. */
export function reachOf({ radius_px: radius, hardness }) {
  return (radius * (1 + hardness)) / 2;
}

/** Pixels of the page that a stroke touches: {left, top, width, height, weight 0..1, inside 0 or 1}; null for none. */
export function coverage(stroke, surface, margin = 0) {
  const { stride, first } = surface.meta, radius = stroke.radius_px, points = stroke.points;
  const xs = points.map(([x]) => x), ys = points.map(([, y]) => y);
  const bound = (value, side) => Math.min(Math.max(value, 0), side);
  const left = bound(Math.ceil((Math.min(...xs) - radius - first) / stride) - margin, surface.width);
  const right = bound(Math.floor((Math.max(...xs) + radius - first) / stride) + 1 + margin, surface.width);
  const top = bound(Math.ceil((Math.min(...ys) - radius - first) / stride) - margin, surface.height);
  const bottom = bound(Math.floor((Math.max(...ys) + radius - first) / stride) + 1 + margin, surface.height);
  const width = right - left, height = bottom - top;
  if (width <= 0 || height <= 0) return null;
  const away = new Float32Array(width * height).fill(Infinity);
  for (let i = 0; i < Math.max(points.length - 1, 1); i++) {
    segmentDistance(away, { left, top, width, height }, points[i], points[Math.min(i + 1, points.length - 1)], radius, stride, first);
  }
  return { left, top, width, height, ...weights(away, stroke) };
}

function segmentDistance(away, box, a, b, radius, stride, first) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]], length = dx * dx + dy * dy;
  const from = (low, origin, size) => Math.min(Math.max(Math.floor((low - radius - first) / stride) - origin, 0), size);
  const to = (high, origin, size) => Math.min(Math.max(Math.ceil((high + radius - first) / stride) + 1 - origin, 0), size);
  const x0 = from(Math.min(a[0], b[0]), box.left, box.width), x1 = to(Math.max(a[0], b[0]), box.left, box.width);
  const y1 = to(Math.max(a[1], b[1]), box.top, box.height);
  for (let y = from(Math.min(a[1], b[1]), box.top, box.height); y < y1; y++) {
    const v = (y + box.top) * stride + first - a[1];
    for (let x = x0, i = y * box.width + x0; x < x1; x++, i++) {
      const u = (x + box.left) * stride + first - a[0];
      const t = length ? Math.min(1, Math.max(0, (u * dx + v * dy) / length)) : 0;
      const d = (u - t * dx) ** 2 + (v - t * dy) ** 2;
      if (d < away[i]) away[i] = d;
    }
  }
}

function weights(squared, stroke) {
  const { radius_px: radius, hardness } = stroke, reach = reachOf(stroke), soft = radius * (1 - hardness);
  const weight = new Float32Array(squared.length), inside = new Uint8Array(squared.length);
  for (let i = 0; i < squared.length; i++) {
    const d = Math.sqrt(squared[i]);
    if (d > radius) continue;
    const share = soft > 0 ? Math.min(1, (radius - d) / soft) : 1;
    weight[i] = share * share * (3 - 2 * share);
    inside[i] = d <= reach ? 1 : 0;
  }
  return { weight, inside };
}

/** Change index, confidence, sigma and flags of a surface by a stroke, as far as a page can know the outcome. */
export function paintMaps(surface, stroke) {
  const cover = coverage(stroke, surface, stroke.kind === "fill" ? RIM_PX : 0);
  if (!cover || UNSEEN.includes(stroke.kind)) return cover;
  const codes = newCodes(surface, stroke, cover), { left, top, width, height } = cover;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0, place = (top + y) * surface.width + left; x < width; x++, i++, place++) {
      if (codes[i] < 0) continue;
      surface.index[place] = codes[i];
      surface.confidence[place] = codes[i] ? handConfidence(surface.meta) : 0;
      surface.sigma[place] = codes[i] ? handSigma(surface.meta) : 255;
      surface.flags[place] &= ~STRAY;
    }
  }
  joinAgain(surface, cover);
  return cover;
}

/** New code of the index for every pixel of a window, -1 where it stays. */
function newCodes(surface, stroke, { left, top, width, height, inside }) {
  const codes = new Int32Array(width * height).fill(-1);
  const code = (index) => Math.round(index / surface.meta.quantum) + 1;
  if (stroke.kind === "fill") {
    const depth = heldDepth(surface, { left, top, width, height, inside });
    membrane(depth, inside, width, height).forEach((value, i) => { if (inside[i] && !Number.isNaN(value)) codes[i] = code(value); });
    return codes;
  }
  const fixed = stroke.kind === "frame" ? code(stroke.frame) : 0;
  const covers = stroke.kind === "frame" ? frameCover(surface, stroke.frame) : () => true;
  for (let i = 0; i < codes.length; i++) if (inside[i] && covers(left + (i % width), top + Math.floor(i / width))) codes[i] = fixed;
  return codes;
}

/** Depth that holds a fill: what is known outside it, and confident enough to be exported where anything is. */
function heldDepth(surface, { left, top, width, height, inside }) {
  const least = Math.ceil(surface.meta.min_confidence * surface.meta.confidence_levels - 1e-9);
  const placeOf = (i) => (top + Math.floor(i / width)) * surface.width + left + (i % width);
  const known = Float32Array.from(inside, (bit, i) => (bit ? NaN : surface.indexAt(placeOf(i))));
  const sure = known.map((depth, i) => (surface.confidence[placeOf(i)] >= least ? depth : NaN));
  return sure.every(Number.isNaN) ? known : sure;
}

/** Whether a frame covers a pixel of the page. */
function frameCover(surface, k) {
  const { transforms, frame_size: [rows, columns], stride, first } = surface.meta, t = transforms[k];
  const det = t[0] * t[4] - t[1] * t[3];
  return (x, y) => {
    const u = x * stride + first - t[2], v = y * stride + first - t[5];
    const fx = (t[4] * u - t[1] * v) / det, fy = (t[0] * v - t[3] * u) / det;
    return fx >= -0.5 && fy >= -0.5 && fx <= columns - 0.5 && fy <= rows - 0.5;
  };
}

function handConfidence(meta) {
  return Math.floor(Math.max(HAND_CONFIDENCE, meta.min_confidence) * meta.confidence_levels + 1e-3);
}

function handSigma({ sigma_code: [least, ratio] }) {
  return Math.round(Math.log(HAND_SIGMA_FRAMES / least) / Math.log(ratio));
}

/** Work out anew which pixels in and around a window are joined with their neighbours. */
function joinAgain(surface, { left, top, width, height }) {
  const { index, flags, meta } = surface, step = meta.cut_frames / meta.quantum;
  const joins = (a, b) => index[a] && index[b] && Math.abs(index[a] - index[b]) <= step;
  const stop = [Math.min(left + width, surface.width), Math.min(top + height, surface.height)];
  for (let y = Math.max(top - 1, 0); y < stop[1]; y++) {
    for (let x = Math.max(left - 1, 0); x < stop[0]; x++) {
      const place = y * surface.width + x;
      const across = x + 1 < surface.width && joins(place, place + 1), down = y + 1 < surface.height && joins(place, place + surface.width);
      flags[place] = (flags[place] & ~(ACROSS | DOWN)) | (across ? ACROSS : 0) | (down ? DOWN : 0);
    }
  }
}

/**
 * Values between known ones: each pixel of the area becomes the mean of its neighbours, coarse to fine.
 * `values` has NaN where nothing is known; parts of the area that touch nothing known stay NaN.
 */
export function membrane(values, area, width, height) {
  const out = width > 8 && height > 8 ? fromCoarse(values, area, width, height) : values.slice();
  const wanted = reachable(values, area, width, height), mean = meanOf(values), places = [];
  for (let i = 0; i < out.length; i++) {
    if (!area[i]) out[i] = values[i];
    else if (!wanted[i]) out[i] = NaN;
    else {
      if (Number.isNaN(out[i])) out[i] = mean;
      places.push(i);
    }
  }
  const beside = Int32Array.from(places.flatMap((i) => neighbours(i, width, height).map((j) => (j >= 0 && !Number.isNaN(out[j]) ? j : -1))));
  const last = places.length - 1;
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (let step = 0; step <= last; step++) {
      const k = sweep % 2 ? last - step : step;
      let total = 0, count = 0;
      for (let side = 4 * k; side < 4 * k + 4; side++) if (beside[side] >= 0) { total += out[beside[side]]; count++; }
      if (count) out[places[k]] += OVER * (total / count - out[places[k]]);
    }
  }
  return out;
}

function meanOf(values) {
  let sum = 0, count = 0;
  for (const value of values) if (!Number.isNaN(value)) { sum += value; count++; }
  return sum / count;
}

/** The four pixels beside one, -1 outside the window. */
function neighbours(i, width, height) {
  const x = i % width;
  return [x > 0 ? i - 1 : -1, x < width - 1 ? i + 1 : -1, i >= width ? i - width : -1, i + width < width * height ? i + width : -1];
}

function fromCoarse(values, area, width, height) {
  const w = Math.ceil(width / 2), h = Math.ceil(height / 2);
  const sums = new Float32Array(w * h), counts = new Uint8Array(w * h), wanted = new Uint8Array(w * h);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const j = (y >> 1) * w + (x >> 1);
      if (area[i]) wanted[j] = 1;
      else if (!Number.isNaN(values[i])) { sums[j] += values[i]; counts[j]++; }
    }
  }
  const known = sums.map((sum, j) => (counts[j] ? sum / counts[j] : NaN));
  const coarse = membrane(known, wanted.map((bit, j) => (counts[j] ? 0 : bit)), w, h);
  return values.map((value, i) => (area[i] ? coarse[((i / width) >> 1) * w + ((i % width) >> 1)] : value));
}

/** Pixels of the area that known ones reach through it. */
function reachable(values, area, width, height) {
  const reached = new Uint8Array(area.length), queue = [];
  for (let i = 0; i < area.length; i++) {
    if (area[i] && neighbours(i, width, height).some((j) => j >= 0 && !area[j] && !Number.isNaN(values[j]))) { reached[i] = 1; queue.push(i); }
  }
  while (queue.length) {
    for (const j of neighbours(queue.pop(), width, height)) if (j >= 0 && area[j] && !reached[j]) { reached[j] = 1; queue.push(j); }
  }
  return reached;
}

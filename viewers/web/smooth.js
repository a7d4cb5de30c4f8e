// A calmer surface to look at: noise laid flat between the cuts. What is read, measured and saved stays as it was measured.

import { ACROSS, DOWN } from "dff/surface.js";

const ROUNDS = 2;
const GRAIN_PX = 3; // differences are taken over this distance: nearer pixels share a focus window
const CALM = 0.5; // roughness, in pixels of the page as they are drawn, that needs no smoothing
const STRONGEST_PX = 8;
const EDGE_FRAMES = 0.5; // a difference of this much between neighbours halves how far they level each other

/**
 * The index map, smoothed along rows and columns by a recursive filter that stops at cuts and holes.
 * After Gastal and Oliveira, Domain transform for edge-aware image and video processing, 2011.
 */
export function smoothed({ index, flags, width, height, meta }, sigmaPx) {
  if (!(sigmaPx > 0)) return index;
  const values = Float32Array.from(index), edge = 1 / (EDGE_FRAMES / meta.quantum) ** 2;
  for (let round = 0; round < ROUNDS; round++) {
    const sigma = (sigmaPx * Math.sqrt(3) * 2 ** (ROUNDS - round - 1)) / Math.sqrt(4 ** ROUNDS - 1);
    const keep = Math.exp(-Math.SQRT2 / sigma);
    const level = (place, other) => {
      const step = index[place] - index[other];
      values[place] += (keep / (1 + edge * step * step)) * (values[other] - values[place]);
    };
    for (let y = 0; y < height; y++) {
      const start = y * width, stop = start + width - 1;
      for (let place = start + 1; place <= stop; place++) if (flags[place - 1] & ACROSS) level(place, place - 1);
      for (let place = stop - 1; place >= start; place--) if (flags[place] & ACROSS) level(place, place + 1);
    }
    for (let place = width; place < values.length; place++) if (flags[place - width] & DOWN) level(place, place - width);
    for (let place = values.length - width - 1; place >= 0; place--) if (flags[place] & DOWN) level(place, place + width);
  }
  return Uint16Array.from(values, (value) => Math.round(value));
}

/** How far to smooth so that a surface looks calm: px of the page, 0 where it is calm already. */
export function restfulSigma(surface, relief) {
  const { index, width, height, meta } = surface, bends = [];
  const step = Math.max(1, Math.floor((width * height) / 40000));
  for (let place = GRAIN_PX; place < index.length - GRAIN_PX; place += step) {
    const x = place % width, [a, b, c] = [index[place - GRAIN_PX], index[place], index[place + GRAIN_PX]];
    if (x >= GRAIN_PX && x < width - GRAIN_PX && a && b && c) bends.push(Math.abs(a - 2 * b + c));
  }
  if (!bends.length) return 0;
  bends.sort((one, two) => one - two);
  const frames = ((1.48 / Math.sqrt(6)) * bends[bends.length >> 1]) * meta.quantum, rise = Math.abs(meta.z.at(-1) - meta.z[0]) / (meta.z.length - 1);
  const rough = (frames * rise * relief) / (meta.maps[meta.z.length >> 1][0] * meta.stride);
  return rough < CALM ? 0 : Math.min(STRONGEST_PX, Math.round(2 + 2 * rough));
}

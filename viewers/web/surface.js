// The measured surface: geometry of every pixel, which pixels are drawn, and statistics of them.

export const ACROSS = 1;
export const DOWN = 2;
export const STRAY = 4;
export const UPPER = 1; // the triangle of a pixel, the one at its right and the one below
export const LOWER = 2; // the triangle of the other three corners of the cell
export const SEEN = 4;
export const KNOWN = 8;

const LANDMARKS = 6007; // pixels that are tried; a prime, so that they fall into all columns
const LEAST_LANDMARKS = 50;
const BOX_MARGIN = 0.02; // level ends of a surface lie on the box

export class Surface {
  constructor(page) {
    const { meta } = page;
    this.count = meta.z.length;
    this.metric = meta.z_unit === "mm" && meta.xy_unit === "mm";
    this.minConfidence = meta.min_confidence;
    this.hideStrays = true;
    this.smoothing = 0; // px; of what is drawn, never of what is read
    this.clip = [[-Infinity, Infinity], [-Infinity, Infinity], [-Infinity, Infinity]];
    this.sigmaTable = Float64Array.from({ length: 256 }, (_, code) =>
      code === 255 ? NaN : meta.sigma_code[0] * meta.sigma_code[1] ** code);
    this.take(page);
  }

  /** Become the surface of a page: all of it, or the coarse one that is there first. */
  take(page) {
    Object.assign(this, page);
    [this.height, this.width] = page.meta.size;
    this.drawn = new Uint8Array(this.width * this.height);
    this.shown = this.index;
    this.updateDrawn();
  }

  /** Work out anew which pixels and triangles are drawn. */
  updateDrawn() {
    const { width, height, index, confidence, flags, drawn, meta } = this;
    const least = Math.ceil(this.minConfidence * meta.confidence_levels - 1e-9);
    const barred = this.hideStrays ? STRAY : 0;
    const last = width - 1;
    for (let i = 0; i < drawn.length; i++) drawn[i] = index[i] ? KNOWN | (confidence[i] >= least && !(flags[i] & barred) ? SEEN : 0) : 0;
    for (let y = 0, i = 0; y < height - 1; y++, i++) {
      for (let x = 0; x < last; x++, i++) {
        const a = drawn[i] & SEEN, b = drawn[i + 1], c = drawn[i + width], d = drawn[i + width + 1];
        if (!(b & c & SEEN)) continue;
        if (a && (flags[i] & (ACROSS | DOWN)) === (ACROSS | DOWN)) drawn[i] |= UPPER;
        if (d & SEEN && flags[i + width] & ACROSS && flags[i + 1] & DOWN) drawn[i] |= LOWER;
      }
    }
  }

  indexAt(place) {
    const code = this.index[place];
    return code ? (code - 1) * this.meta.quantum : NaN;
  }

  /** Index at which a pixel is drawn. */
  shownAt(place) {
    const code = this.shown[place];
    return code ? (code - 1) * this.meta.quantum : NaN;
  }

  /** [X, Y, Z] of pixel coordinates of the page at a sub-frame index. */
  position(x, y, index) {
    const { maps, z, centre, stride, first } = this.meta;
    const k = Math.min(Math.max(Math.floor(index), 0), this.count - 2), f = index - k;
    const low = maps[k], high = maps[k + 1];
    const m = low.map((value, j) => value * (1 - f) + high[j] * f);
    const u = x * stride + first - centre[0], v = y * stride + first - centre[1];
    const w = m[6] * u + m[7] * v + 1;
    return [(m[0] * u + m[1] * v + m[2]) / w, -(m[3] * u + m[4] * v + m[5]) / w, z[k] * (1 - f) + z[k + 1] * f];
  }

  /** Height of the planes of focus per frame there, without sign. */
  slope(index) {
    const k = Math.min(Math.max(Math.round(index), 0), this.count - 1), { z } = this.meta;
    const low = Math.max(k - 1, 0), high = Math.min(k + 1, this.count - 1);
    return Math.abs(z[high] - z[low]) / (high - low);
  }

  /** Sub-frame index of a height: the inverse of the table. */
  indexOfHeight(height) {
    const { z } = this.meta;
    const sign = Math.sign(z[1] - z[0]);
    for (let k = 0; k < this.count - 1; k++) {
      if (sign * (height - z[k + 1]) <= 0 || k === this.count - 2) return k + (height - z[k]) / (z[k + 1] - z[k]);
    }
    return 0;
  }

  placeOf(x, y) {
    const column = Math.round(x), row = Math.round(y);
    return column >= 0 && row >= 0 && column < this.width && row < this.height ? row * this.width + column : -1;
  }

  /** Everything known of the pixel next to page coordinates; `known` is false for a hole. */
  at(x, y) {
    const place = this.placeOf(x, y);
    if (place < 0) return null;
    const column = place % this.width, row = (place - column) / this.width;
    const index = this.indexAt(place);
    const point = { x: column, y: row, place, index, known: !Number.isNaN(index), drawn: this.isDrawn(place) };
    if (!point.known) return point;
    point.position = this.position(column, row, index);
    point.confidence = this.confidence[place] / this.meta.confidence_levels;
    point.sigma = this.sigmaTable[this.sigma[place]] * this.slope(index);
    return point;
  }

  isDrawn(place) {
    if (!(this.drawn[place] & SEEN)) return false;
    if (!this.clipped) return true;
    const column = place % this.width;
    return this.inClip(this.position(column, (place - column) / this.width, this.indexAt(place)));
  }

  inClip(position) {
    return this.clip.every(([low, high], axis) => position[axis] >= low && position[axis] <= high);
  }

  get clipped() {
    return this.clip.some(([low, high]) => low > -Infinity || high < Infinity);
  }

  /** Some points of what is drawn, inside the box that holds nearly all of it; its corners where nothing is drawn. */
  landmarks([low, high]) {
    const step = Math.max(1, Math.floor(this.drawn.length / LANDMARKS)), found = [];
    const near = low.map((value, i) => BOX_MARGIN * (high[i] - value));
    for (let place = step >> 1; place < this.drawn.length; place += step) {
      if (!(this.drawn[place] & SEEN)) continue;
      const column = place % this.width, point = this.position(column, (place - column) / this.width, this.indexAt(place));
      if (point.every((value, i) => value >= low[i] - near[i] && value <= high[i] + near[i])) found.push(point);
    }
    return found.length >= LEAST_LANDMARKS ? found : Array.from({ length: 8 }, (_, corner) => low.map((value, i) => ((corner >> i) & 1 ? high[i] : value)));
  }

  /** Pixel of the whole result at page coordinates, and back. */
  toResult([x, y]) {
    return [x * this.meta.stride + this.meta.first, y * this.meta.stride + this.meta.first];
  }

  fromResult([x, y]) {
    return [(x - this.meta.first) / this.meta.stride, (y - this.meta.first) / this.meta.stride];
  }
}

// A camera that turns about a target: turn about the vertical of the picture, tilt about the horizontal.

const FIELD_DEG = 28;
const RADIANS = Math.PI / 180;
const FIT_ROOM = 1.06;

/** Views by name: turn and tilt in degrees; 0, 0 looks along the optical axis. */
export const VIEWS = {
  front: [0, 0], left: [90, 0], right: [-90, 0], above: [0, -90], below: [0, 90], back: [180, 0],
};

export class Camera {
  constructor() {
    this.turn = 0;
    this.tilt = 0;
    this.target = [0, 0, 0];
    this.distance = 1;
    this.radius = 1;
    this.perspective = true;
    this.relief = 1;
    this.shift = [0, 0];
    this.size = [1, 1];
  }

  /** Rows of the rotation from world to view axes. */
  rotation() {
    const ct = Math.cos(this.turn * RADIANS), st = Math.sin(this.turn * RADIANS);
    const cp = Math.cos(this.tilt * RADIANS), sp = Math.sin(this.tilt * RADIANS);
    return [[ct, 0, st], [-sp * st, cp, sp * ct], [-cp * st, -sp, cp * ct]];
  }

  halfHeight() {
    return this.distance * Math.tan((FIELD_DEG / 2) * RADIANS);
  }

  /** Length of the world that one pixel of the screen shows at the target. */
  worldPerPixel() {
    return (2 * this.halfHeight()) / this.size[1];
  }

  /** Column-major matrix from world (heights not yet exaggerated) to clip coordinates. */
  matrix() {
    const aspect = this.size[0] / this.size[1], half = this.halfHeight(), d = this.distance;
    const near = Math.max(d - 4 * this.radius, d * 0.02), far = d + 4 * this.radius;
    const [rx, ry, rz] = this.rotation().map((row) => [row[0], row[1], row[2] * this.relief]);
    const moved = this.rotation().map((row) => -row.reduce((sum, value, i) => sum + value * this.exaggerated(this.target)[i], 0));
    const out = new Float32Array(16);
    for (let column = 0; column < 4; column++) {
      const x = column < 3 ? rx[column] : moved[0], y = column < 3 ? ry[column] : moved[1];
      const z = column < 3 ? rz[column] : moved[2] - d, one = column < 3 ? 0 : 1;
      const w = this.perspective ? -z : one * d;
      const depth = this.perspective
        ? ((far + near) / (near - far)) * z + one * ((2 * far * near) / (near - far))
        : d * ((2 / (near - far)) * z + one * ((far + near) / (near - far)));
      out.set([(x * d) / (half * aspect) + this.shift[0] * w, (y * d) / half + this.shift[1] * w, depth, w], column * 4);
    }
    return out;
  }

  exaggerated([x, y, z]) {
    return [x, y, z * this.relief];
  }

  /** Place on the screen in CSS px, and depth, of a world point; null behind the camera. */
  project(point, matrix = this.matrix()) {
    const [x, y, z] = point, at = (row) => matrix[row] * x + matrix[4 + row] * y + matrix[8 + row] * z + matrix[12 + row];
    const w = at(3);
    if (w <= 0) return null;
    return [(at(0) / w / 2 + 0.5) * this.size[0], (0.5 - at(1) / w / 2) * this.size[1], at(2) / w];
  }

  /** Move the target by px on the screen. */
  pan(dx, dy) {
    const [right, up] = this.rotation(), scale = this.worldPerPixel();
    const step = [0, 1, 2].map((i) => -right[i] * dx * scale + up[i] * dy * scale);
    this.target = [this.target[0] + step[0], this.target[1] + step[1], this.target[2] + step[2] / this.relief];
  }

  orbit(dx, dy) {
    this.turn = (((this.turn + dx * 0.35 + 180) % 360) + 360) % 360 - 180;
    this.tilt = Math.min(90, Math.max(-90, this.tilt - dy * 0.35));
  }

  /** Zoom about a place on the screen. */
  zoom(factor, x, y) {
    const limited = Math.min(Math.max(this.distance * factor, this.radius * 0.02), this.radius * 40) / this.distance;
    const offset = [x - (this.shift[0] / 2 + 0.5) * this.size[0], y - (0.5 - this.shift[1] / 2) * this.size[1]];
    this.pan(-offset[0] * (1 - limited), -offset[1] * (1 - limited));
    this.distance *= limited;
  }

  /** Let the target lie in the middle of the free part of the screen. */
  centre(free) {
    this.shift = [(free.left - free.right) / this.size[0], (free.bottom - free.top) / this.size[1]];
  }

  /**
   * Look from a side so that points of the world fill the free part of the screen; `box` holds the whole model.
   * A point is inside where |x - cx| <= a (d - toward): both sides give the least d and the middle cx in closed form.
   */
  fit([low, high], points, turn, tilt, free) {
    this.turn = turn;
    this.tilt = tilt;
    this.target = low.map((value, i) => (value + high[i]) / 2);
    this.centre(free);
    const rows = this.rotation(), tangent = Math.tan((FIELD_DEG / 2) * RADIANS) / FIT_ROOM / this.size[1];
    const slopes = [this.size[0] - free.left - free.right, this.size[1] - free.top - free.bottom].map((side) => tangent * Math.max(side, 80));
    const ends = [[-Infinity, -Infinity], [-Infinity, -Infinity]];
    for (const point of points) {
      const offset = this.exaggerated(point.map((value, i) => value - this.target[i]));
      const seen = rows.map((row) => row[0] * offset[0] + row[1] * offset[1] + row[2] * offset[2]);
      const toward = this.perspective ? seen[2] : 0;
      slopes.forEach((slope, i) => {
        ends[i][0] = Math.max(ends[i][0], seen[i] + slope * toward);
        ends[i][1] = Math.max(ends[i][1], slope * toward - seen[i]);
      });
    }
    this.distance = Math.max(...ends.map(([more, less], i) => (more + less) / 2 / slopes[i])) || 1;
    const middle = ends.map(([more, less]) => (more - less) / 2);
    const step = [0, 1, 2].map((i) => middle[0] * rows[0][i] + middle[1] * rows[1][i]);
    this.target = [this.target[0] + step[0], this.target[1] + step[1], this.target[2] + step[2] / this.relief];
    this.radius = Math.hypot(...this.exaggerated(high.map((value, i) => (value - low[i]) / 2))) || 1;
  }
}

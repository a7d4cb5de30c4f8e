// Draws the surface with WebGL2 into a buffer that also says, for every px of the screen, which pixel is seen there.

import { Camera } from "dff/camera.js";
import { decodeBase64 } from "dff/data.js";
import * as shaders from "dff/shaders.js";
import { restfulSigma, smoothed } from "dff/smooth.js";

const MOST_CONFIDENCE = 0.9; // colours of confidence start here at the latest
const LEAST_SPREAD = 4; // largest over smallest error that colours span
const MOVING_MS = 45;
const CHUNK_MS = 60;
const SETTLE_MS = 160;
export const MODES = ["picture", "height", "confidence", "frame", "error"];

export class Scene {
  /** @throws where the browser has no WebGL2. */
  constructor(canvas, surface) {
    this.canvas = canvas;
    this.surface = surface;
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: true, powerPreference: "high-performance" });
    if (!gl) throw new Error("This browser gives no WebGL2. Turn on hardware acceleration, or use a current Firefox, Chrome, Edge or Safari.");
    this.gl = gl;
    const info = gl.getExtension("WEBGL_debug_renderer_info");
    this.driver = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
    this.software = /swiftshader|llvmpipe|software/i.test(this.driver);
    this.camera = new Camera();
    this.state = {
      points: false, mode: "picture", colourMap: "viridis", ranges: {}, pointSize: 1, lamp: [-0.45, 0.62, 0.64], lampShare: 0.5,
      contour: 0, focus: -1, grid: true, cut: surface.meta.cut_frames, grey: false,
    };
    this.rate = this.software ? 2500 : 60000; // cells a millisecond; measured while drawing
    this.listeners = [];
    this.first = new Promise((done) => this.listeners.push(done)); // the first picture, coarse or not
    this.restful = surface.smoothing = surface.isCoarse ? 0 : restfulSigma(surface, surface.meta.relief);
    this.prepare();
    this.front = 0;
    this.waiting = [];
    this.scheduled = false;
    this.job = null;
  }

  // ---- setting up

  /** Make everything that lives in the graphics driver. */
  prepare() {
    this.targets = [null, null];
    this.current = this.rampName = this.slopes = null;
    this.makePrograms();
    this.makeTextures();
  }

  /** Draw again after the graphics driver was reset; `tell` hears of its loss and of its return. */
  survive(tell) {
    this.canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.current = this.job = null;
      tell(true);
    });
    this.canvas.addEventListener("webglcontextrestored", () => {
      this.prepare();
      this.request();
      tell(false);
    });
  }

  makePrograms() {
    const s = shaders;
    this.programs = {
      surface: this.program(s.SURFACE_VERTEX, s.SURFACE_FRAGMENT), points: this.program(s.POINTS_VERTEX, s.POINTS_FRAGMENT),
      slopes: this.program(s.WHOLE_VERTEX, s.SLOPES_FRAGMENT), finish: this.program(s.WHOLE_VERTEX, s.FINISH_FRAGMENT),
      lines: this.program(s.LINES_VERTEX, s.LINES_FRAGMENT),
    };
    this.nothing = this.gl.createVertexArray();
    this.lineArray = this.gl.createVertexArray();
    this.lineBuffer = this.gl.createBuffer();
  }

  program(vertex, fragment) {
    const { gl } = this, program = gl.createProgram();
    for (const [type, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(`shader: ${gl.getShaderInfoLog(shader)}`);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`program: ${gl.getProgramInfoLog(program)}`);
    const places = new Map();
    const count = gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS);
    for (let i = 0; i < count; i++) {
      const { name, type } = gl.getActiveUniform(program, i);
      places.set(name, { type, at: gl.getUniformLocation(program, name) });
    }
    return { program, places };
  }

  texture(unit, { filter = this.gl.NEAREST, mips = false } = {}) {
    const { gl } = this, texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, mips ? gl.LINEAR_MIPMAP_LINEAR : filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    return texture;
  }

  makeTextures() {
    const { gl, surface } = this, { width, height } = surface;
    const largest = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    if (Math.max(width, height) > largest) throw new Error(`This graphics driver takes pictures up to ${largest} px; make the page with --max-megapixels ${Math.floor((largest * largest) / 2e6)} or less.`);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.units = { indexMap: 0, planes: 1, drawnMap: 2, confidenceMap: 3, sigmaMap: 4, picture: 5, slopes: 6, ramp: 7, drawn: 8 };
    this.texture(this.units.indexMap);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R16UI, width, height, 0, gl.RED_INTEGER, gl.UNSIGNED_SHORT, this.drawnIndex());
    this.texture(this.units.planes);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, 3, surface.count, 0, gl.RGBA, gl.FLOAT, planeTable(surface.meta));
    this.drawnTexture = this.texture(this.units.drawnMap);
    this.bytes(surface.drawn);
    this.texture(this.units.confidenceMap);
    this.bytes(surface.confidence);
    this.texture(this.units.sigmaMap);
    this.bytes(surface.sigma);
    this.texture(this.units.picture, { filter: gl.LINEAR, mips: true });
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, surface.picture);
    gl.generateMipmap(gl.TEXTURE_2D);
    const anisotropy = gl.getExtension("EXT_texture_filter_anisotropic");
    if (anisotropy && !this.software) gl.texParameterf(gl.TEXTURE_2D, anisotropy.TEXTURE_MAX_ANISOTROPY_EXT, 4);
    this.texture(this.units.ramp, { filter: gl.LINEAR });
    this.makeSlopes();
  }

  /** Tell the graphics driver that everything of the surface changed. */
  renew() {
    const { gl, units, surface } = this, calm = restfulSigma(surface, surface.meta.relief);
    if (surface.smoothing === this.restful) surface.smoothing = calm;
    this.restful = calm;
    for (const [name, unit] of Object.entries(units)) {
      if (name === "drawn") continue;
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.deleteTexture(gl.getParameter(gl.TEXTURE_BINDING_2D));
    }
    this.rampName = null;
    this.makeTextures();
    this.request();
  }

  bytes(array) {
    const { gl, surface } = this;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8UI, surface.width, surface.height, 0, gl.RED_INTEGER, gl.UNSIGNED_BYTE, array);
  }

  /** Index map to draw: smoothed as asked, holes filled. */
  drawnIndex() {
    const { surface } = this;
    surface.shown = smoothed(surface, surface.smoothing);
    return filled(surface.shown, surface.width);
  }

  /** Smooth what is drawn by so many px. */
  setSmoothing(sigmaPx) {
    const { gl, surface } = this;
    surface.smoothing = sigmaPx;
    gl.activeTexture(gl.TEXTURE0 + this.units.indexMap);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, surface.width, surface.height, gl.RED_INTEGER, gl.UNSIGNED_SHORT, this.drawnIndex());
    this.makeSlopes();
    this.request();
  }

  makeSlopes() {
    const { gl, surface } = this;
    if (this.slopes) gl.deleteTexture(this.slopes);
    this.slopes = this.texture(this.units.slopes, { filter: gl.LINEAR });
    this.haveSlopes = Boolean(gl.getExtension("EXT_color_buffer_float") || gl.getExtension("EXT_color_buffer_half_float"));
    if (!this.haveSlopes) return;
    const reach = Math.ceil(Math.sqrt((surface.width * surface.height) / (this.software ? 1e6 : 3e6)));
    const size = [Math.ceil(surface.width / reach), Math.ceil(surface.height / reach)];
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RG16F, ...size, 0, gl.RG, gl.HALF_FLOAT, null);
    const { slopes } = this;
    const target = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, target);
    gl.activeTexture(gl.TEXTURE0 + this.units.slopes);
    gl.bindTexture(gl.TEXTURE_2D, null);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, slopes, 0);
    gl.viewport(0, 0, ...size);
    gl.disable(gl.DEPTH_TEST);
    this.use("slopes", { ...this.geometryUniforms(), cut: surface.meta.cut_frames / 2, reach });
    gl.bindVertexArray(this.nothing);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.deleteFramebuffer(target);
    gl.bindTexture(gl.TEXTURE_2D, slopes);
  }

  // ---- uniforms

  use(name, values) {
    const { gl } = this, { program, places } = this.programs[name];
    gl.useProgram(program);
    for (const [key, { at, type }] of places) {
      const value = key in this.units ? this.units[key] : values[key];
      if (value === undefined) throw new Error(`uniform ${key} of ${name} has no value`);
      this.setUniform(at, type, value);
    }
  }

  setUniform(at, type, value) {
    const { gl } = this;
    switch (type) {
      case gl.FLOAT: return gl.uniform1f(at, value);
      case gl.FLOAT_VEC2: return gl.uniform2fv(at, value);
      case gl.FLOAT_VEC3: return gl.uniform3fv(at, value);
      case gl.FLOAT_VEC4: return gl.uniform4fv(at, value);
      case gl.FLOAT_MAT4: return gl.uniformMatrix4fv(at, false, value);
      case gl.INT_VEC2: return gl.uniform2iv(at, value);
      default: return gl.uniform1i(at, value);
    }
  }

  geometryUniforms() {
    const { surface } = this, { meta } = surface;
    return {
      size: [surface.width, surface.height], frames: surface.count, quantum: meta.quantum, stride: meta.stride,
      origin: [meta.first - meta.centre[0], meta.first - meta.centre[1]],
    };
  }

  /** The range that colours of a mode span, in its own unit; of the logarithm for the error. */
  range(mode = this.state.mode) {
    const { meta } = this.surface;
    const chosen = this.state.ranges[mode];
    if (chosen) return chosen;
    if (mode === "height") return meta.heights;
    if (mode === "frame") return this.frameRange();
    if (mode === "confidence") return [Math.min(this.surface.minConfidence, MOST_CONFIDENCE), 1];
    if (mode === "error") return spread(...meta.sigmas);
    return [0, 1];
  }

  /** Frames between the lowest and the highest height. */
  frameRange() {
    const ends = this.surface.meta.heights.map((height) => this.surface.indexOfHeight(height));
    const low = Math.max(0, Math.floor(Math.min(...ends))), high = Math.min(this.surface.count - 1, Math.ceil(Math.max(...ends)));
    return high > low ? [low, high] : [0, this.surface.count - 1];
  }

  colourUniforms() {
    const { state, surface, camera } = this, { meta } = surface;
    const [right, up, toward] = camera.rotation();
    const range = state.mode === "error" ? this.range().map(Math.log) : this.range();
    const length = Math.hypot(...state.lamp);
    const bound = (value, side) => (Number.isFinite(value) ? value : side * 3e38);
    return {
      view: new Float32Array([right[0], up[0], toward[0], 0, right[1], up[1], toward[1], 0, right[2], up[2], toward[2], 0, 0, 0, 0, 1]),
      mode: MODES.indexOf(state.mode), range, lamp: state.lamp.map((value) => value / length), lampShare: state.lampShare,
      relief: camera.relief, contour: state.contour, focus: state.quiet ? -1 : state.focus, confidenceLevels: meta.confidence_levels,
      haveSlopes: this.haveSlopes ? 1 : 0, sigmaCode: meta.sigma_code, grey: state.grey ? 1 : 0, cut: state.cut,
      clipLow: surface.clip.map(([low]) => bound(low, -1)), clipHigh: surface.clip.map(([, high]) => bound(high, 1)),
    };
  }

  setColourMap(name) {
    const { gl } = this;
    if (this.rampName === name) return;
    this.rampName = name;
    gl.activeTexture(gl.TEXTURE0 + this.units.ramp);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, 256, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, decodeBase64(this.surface.meta.colour_maps[name]));
  }

  /** Tell the graphics driver that Surface.drawn changed. */
  updateDrawn() {
    const { gl, surface } = this;
    gl.activeTexture(gl.TEXTURE0 + this.units.drawnMap);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, surface.width, surface.height, gl.RED_INTEGER, gl.UNSIGNED_BYTE, surface.drawn);
    this.request();
  }

  /** Tell the graphics driver that maps of the surface, or its picture, changed. */
  updateMaps() {
    const { gl, surface, units } = this, { width, height } = surface;
    const put = (unit, type, data) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, height, gl.RED_INTEGER, type, data);
    };
    put(units.indexMap, gl.UNSIGNED_SHORT, this.drawnIndex());
    put(units.confidenceMap, gl.UNSIGNED_BYTE, surface.confidence);
    put(units.sigmaMap, gl.UNSIGNED_BYTE, surface.sigma);
    put(units.drawnMap, gl.UNSIGNED_BYTE, surface.drawn);
    gl.activeTexture(gl.TEXTURE0 + units.picture);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, gl.RGBA, gl.UNSIGNED_BYTE, surface.picture);
    gl.generateMipmap(gl.TEXTURE_2D);
    this.makeSlopes();
    this.request();
  }

  // ---- drawing

  resize() {
    const { canvas } = this, ratio = Math.min(window.devicePixelRatio || 1, 2);
    const size = [Math.max(2, Math.round(canvas.clientWidth * ratio)), Math.max(2, Math.round(canvas.clientHeight * ratio))];
    this.camera.size = [Math.max(canvas.clientWidth, 1), Math.max(canvas.clientHeight, 1)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    this.request();
  }

  /** Draw soon: coarse while things move, every pixel when they rest. */
  request() {
    this.job = null;
    this.changed = performance.now();
    this.schedule();
  }

  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => this.tick());
  }

  tick() {
    this.scheduled = false;
    if (this.gl.isContextLost()) return;
    if (this.changed !== this.drawnAt) {
      this.drawnAt = this.changed;
      this.fine = this.quick();
    } else if (!this.fine) {
      if (!this.job && performance.now() - this.changed > SETTLE_MS) this.job = this.refine();
      if (this.job && this.job.next().done) {
        this.job = null;
        this.fine = true;
      }
    }
    if (this.fine && this.changed === this.drawnAt) this.waiting.splice(0).forEach((done) => done());
    else this.schedule();
  }

  /** Resolves when every pixel is drawn. */
  settled() {
    return new Promise((done) => { this.waiting.push(done); this.schedule(); });
  }

  cells(step) {
    return Math.ceil(this.surface.width / step) * Math.ceil(this.surface.height / step);
  }

  /** Draw at once what can be drawn in a moment; says whether that was everything. */
  quick() {
    let step = 1;
    while (this.cells(step) > Math.max(this.rate * MOVING_MS, 20000)) step++;
    const over = this.overSampling();
    const whole = step === 1 && over === 1;
    const target = this.target(0, 1);
    const started = performance.now();
    this.begin(target);
    this.drawRows(step, 0, this.rowsOf(step));
    this.finish(target, 0);
    this.note(step, this.cells(step), performance.now() - started);
    return whole;
  }

  /** Draw every pixel, some rows a turn. */
  *refine() {
    const target = this.target(1, this.overSampling()), rows = this.rowsOf(1);
    this.begin(target);
    for (let row = 0; row < rows; ) {
      const count = Math.min(rows - row, Math.max(1, Math.round((this.rate * CHUNK_MS) / this.surface.width)));
      const started = performance.now();
      this.bindTarget(target);
      this.drawRows(1, row, count);
      this.sync();
      this.note(1, count * this.surface.width, performance.now() - started);
      row += count;
      if (row < rows) yield;
    }
    this.finish(target, 1);
  }

  overSampling() {
    return this.software || (window.devicePixelRatio || 1) >= 1.75 || this.cells(1) > this.rate * 400 ? 1 : 2;
  }

  rowsOf(step) {
    const rows = Math.ceil((this.surface.height - 1) / step);
    return this.state.points ? rows + 1 : rows;
  }

  note(step, cells, milliseconds) {
    if (cells > 5000) this.rate = 0.7 * this.rate + 0.3 * Math.max(50, cells / Math.max(milliseconds, 0.2));
  }

  target(which, over) {
    const { gl, canvas } = this, size = [canvas.width * over, canvas.height * over];
    const had = this.targets[which];
    if (had && had.size[0] === size[0] && had.size[1] === size[1]) return had;
    if (had) this.drop(had);
    const frame = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    const colour = this.texture(this.units.drawn, { filter: gl.LINEAR });
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, ...size, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, colour, 0);
    const buffers = [[gl.RG32UI, gl.COLOR_ATTACHMENT1], [gl.DEPTH_COMPONENT24, gl.DEPTH_ATTACHMENT]].map(([format, place]) => {
      const buffer = gl.createRenderbuffer();
      gl.bindRenderbuffer(gl.RENDERBUFFER, buffer);
      gl.renderbufferStorage(gl.RENDERBUFFER, format, ...size);
      gl.framebufferRenderbuffer(gl.FRAMEBUFFER, place, gl.RENDERBUFFER, buffer);
      return buffer;
    });
    return (this.targets[which] = { frame, colour, buffers, size, over });
  }

  drop({ frame, colour, buffers }) {
    const { gl } = this;
    gl.deleteFramebuffer(frame);
    gl.deleteTexture(colour);
    buffers.forEach((buffer) => gl.deleteRenderbuffer(buffer));
  }

  bindTarget(target) {
    const { gl } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    gl.viewport(0, 0, ...target.size);
    gl.drawBuffers([gl.COLOR_ATTACHMENT0, gl.COLOR_ATTACHMENT1]);
    gl.enable(gl.DEPTH_TEST);
    gl.disable(gl.BLEND);
  }

  begin(target) {
    const { gl } = this;
    this.setColourMap(this.state.colourMap);
    this.bindTarget(target);
    gl.clearBufferfv(gl.COLOR, 0, [0, 0, 0, 0]);
    gl.clearBufferuiv(gl.COLOR, 1, [0xffffffff, 0xffffffff, 0, 0]);
    gl.clearBufferfv(gl.DEPTH, 0, [1]);
  }

  drawRows(step, firstRow, rows) {
    const { gl, camera, surface, state } = this;
    const values = { ...this.geometryUniforms(), ...this.colourUniforms(), matrix: camera.matrix(), skip: step, firstRow };
    const columns = Math.ceil((surface.width - 1) / step) + 1;
    gl.bindVertexArray(this.nothing);
    if (state.points) {
      const spacing = (this.pixelSize() * step) / camera.worldPerPixel() * (this.current?.over ?? 1) * (this.canvas.width / this.camera.size[0]);
      this.use("points", { ...values, columns, pointSize: 1.25 * state.pointSize * spacing * camera.distance });
      gl.drawArrays(gl.POINTS, 0, columns * rows);
    } else {
      this.use("surface", values);
      gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 2 * columns, rows);
    }
  }

  /** Size of a pixel of the page on the surface. */
  pixelSize() {
    const { meta, count } = this.surface;
    return meta.maps[count >> 1][0] * meta.stride;
  }

  finish(target, which) {
    const { gl, canvas } = this;
    if (this.state.grid && this.gridLines) this.drawGrid(target);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.BLEND);
    gl.activeTexture(gl.TEXTURE0 + this.units.drawn);
    gl.bindTexture(gl.TEXTURE_2D, target.colour);
    this.use("finish", { paper: 0 });
    gl.bindVertexArray(this.nothing);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.bindTexture(gl.TEXTURE_2D, null);
    this.front = which;
    this.current = target;
    this.sync();
    this.listeners.forEach((listener) => listener());
  }

  drawGrid(target) {
    const { gl, camera } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    gl.drawBuffers([gl.COLOR_ATTACHMENT0, gl.NONE]);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.bindVertexArray(this.lineArray);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lineBuffer);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 0, 0);
    for (const { lines, ink } of this.gridLines) {
      gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(lines), gl.STREAM_DRAW);
      this.use("lines", { matrix: camera.matrix(), ink });
      gl.drawArrays(gl.LINES, 0, lines.length / 3);
    }
  }

  sync() {
    this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, new Uint8Array(4));
  }

  /** Page coordinates [x, y] of the surface under a place of the screen in CSS px; null where there is none. */
  pick(x, y) {
    const { gl, current } = this;
    if (!current) return null;
    const scale = current.size[0] / this.camera.size[0];
    const place = [Math.floor(x * scale), current.size[1] - 1 - Math.floor(y * scale)];
    if (place.some((value, i) => value < 0 || value >= current.size[i])) return null;
    gl.bindFramebuffer(gl.FRAMEBUFFER, current.frame);
    gl.readBuffer(gl.COLOR_ATTACHMENT1);
    const bits = new Uint32Array(4);
    gl.readPixels(...place, 1, 1, gl.RGBA_INTEGER, gl.UNSIGNED_INT, bits);
    gl.readBuffer(gl.COLOR_ATTACHMENT0);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    const found = new Float32Array(bits.buffer);
    return Number.isNaN(found[0]) ? null : [found[0], found[1]];
  }
}

/** A range of errors, wide enough that errors of one size are not drawn as the least there is. */
function spread(low, high) {
  const middle = Math.sqrt(Math.max(low, 1e-9) * Math.max(high, 1e-9)), half = Math.sqrt(LEAST_SPREAD);
  return [Math.min(Math.max(low, 1e-9), middle / half), Math.max(high, middle * half)];
}

/** The index map with holes filled from the left, or else from above, so that triangles at holes stay small. */
function filled(index, width) {
  const out = index.slice();
  for (let i = 1; i < out.length; i++) if (!out[i]) out[i] = out[i - 1] && i % width ? out[i - 1] : out[i - width] || out[i - 1];
  let next = 1;
  for (let i = out.length - 1; i >= 0; i--) {
    if (out[i]) next = out[i];
    else out[i] = next;
  }
  return out;
}

function planeTable({ maps, z }) {
  const table = new Float32Array(z.length * 12);
  maps.forEach((map, k) => table.set([...map, z[k]], k * 12));
  return table;
}

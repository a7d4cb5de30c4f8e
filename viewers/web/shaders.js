// GLSL. The grid has no vertex buffers: a vertex knows its pixel by gl_VertexID and reads everything from textures.

const HEAD = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp usampler2D;
`;

const GEOMETRY = `
uniform usampler2D indexMap;
uniform sampler2D planes;     // a row a frame: the map to its plane of focus (8), its height
uniform ivec2 size;
uniform float frames, quantum, stride;
uniform vec2 origin;          // first pixel - principal point

float indexAt(ivec2 p) { return float(int(texelFetch(indexMap, p, 0).r) - 1) * quantum; }

vec3 place(vec2 p, float index) {
  float k = clamp(floor(index), 0., frames - 2.), f = index - k;
  int row = int(k);
  vec4 one = mix(texelFetch(planes, ivec2(0, row), 0), texelFetch(planes, ivec2(0, row + 1), 0), f);
  vec4 two = mix(texelFetch(planes, ivec2(1, row), 0), texelFetch(planes, ivec2(1, row + 1), 0), f);
  float z = mix(texelFetch(planes, ivec2(2, row), 0).r, texelFetch(planes, ivec2(2, row + 1), 0).r, f);
  vec2 u = p * stride + origin;
  vec2 xy = vec2(dot(one.xy, u) + one.z, -(dot(vec2(one.w, two.x), u) + two.y)) / (dot(two.zw, u) + 1.);
  return vec3(xy, z);
}
`;

const COLOURS = `
uniform usampler2D drawnMap, confidenceMap, sigmaMap;
uniform sampler2D picture, slopes, ramp;
uniform mat4 view;            // rotation of normals into view axes
uniform int mode;             // 0 picture, 1 height, 2 confidence, 3 frame, 4 error
uniform vec2 range;           // of the colours
uniform vec3 lamp;            // direction toward the light, view axes
uniform float lampShare, relief, contour, focus, confidenceLevels, haveSlopes, grey;
uniform vec2 sigmaCode;
uniform vec3 clipLow, clipHigh;
layout(location = 0) out vec4 colour;
layout(location = 1) out uvec2 spot;

vec3 fromRamp(float level) { return texture(ramp, vec2(clamp(level, 0., 1.) * (255. / 256.) + .5 / 256., .5)).rgb; }

vec3 baseColour(vec2 pixel, ivec2 near, float z, float index) {
  if (mode == 0) return texture(picture, (pixel + .5) / vec2(size)).rgb;
  if (mode == 1) return fromRamp((z - range.x) / (range.y - range.x));
  if (mode == 2) return fromRamp((float(texelFetch(confidenceMap, near, 0).r) / confidenceLevels - range.x) / (range.y - range.x));
  if (mode == 3) {
    float k = floor(index + .5);
    return fromRamp((k - range.x) / (range.y - range.x)) * (mod(k, 2.) < .5 ? 1. : .82);
  }
  uint code = texelFetch(sigmaMap, near, 0).r;
  if (code == 255u) return vec3(.3);
  float k = clamp(floor(index), 0., frames - 2.);
  float slope = abs(texelFetch(planes, ivec2(2, int(k) + 1), 0).r - texelFetch(planes, ivec2(2, int(k)), 0).r);
  return fromRamp((log(sigmaCode.x * pow(sigmaCode.y, float(code)) * slope) - range.x) / (range.y - range.x));
}

float light(vec2 pixel, bool front) {
  vec2 g = haveSlopes > .5 ? texture(slopes, (pixel + .5) / vec2(size)).rg : vec2(0.);
  vec3 n = mat3(view) * normalize(vec3(-g * relief, 1.));
  if (!front) n = -n;
  float key = max(dot(n, lamp), 0.), fill = max(dot(n, normalize(vec3(.7, -.1, .7))), 0.);
  return .38 + .98 * key + .16 * fill;
}

float lineAt(float value, float width) {
  float blur = fwidth(value);
  return (1. - smoothstep(width - .6, width + .6, abs(fract(value - .5) - .5) / max(blur, 1e-9))) * smoothstep(.45, .2, blur);
}

vec3 dressed(vec3 base, vec2 pixel, float z, float index, bool front) {
  vec3 c = grey > .5 ? vec3(dot(base, vec3(.3, .59, .11))) : base;
  c *= mix(1., light(pixel, front), lampShare);
  if (!front) c = mix(vec3(.16, .17, .19), c, .25);
  if (contour > 0.) {
    float thin = lineAt(z / contour, .7), thick = lineAt(z / (5. * contour), 1.1);
    c = mix(c, mode == 0 ? vec3(1., .93, .8) : vec3(.04), max(thin * .55, thick * .85));
  }
  if (focus >= 0.) {
    float d = abs(index - focus);
    float band = 1. - smoothstep(.35, .75, d);
    c = mix(c * .38, min(c * 1.12 + vec3(.30, .17, .02), 1.), band);
  }
  return c;
}

bool clipped(vec3 world) { return any(lessThan(world, clipLow)) || any(greaterThan(world, clipHigh)); }
`;

export const SURFACE_VERTEX = `${HEAD}${GEOMETRY}
uniform mat4 matrix;
uniform int skip, firstRow;
out vec2 pixel;
out vec3 world;
out float index;
void main() {
  ivec2 p = min(ivec2(gl_VertexID >> 1, firstRow + gl_InstanceID + (gl_VertexID & 1)) * skip, size - 1);
  index = indexAt(p);
  world = place(vec2(p), index);
  pixel = vec2(p);
  gl_Position = matrix * vec4(world, 1.);
}`;

export const SURFACE_FRAGMENT = `${HEAD}${GEOMETRY}${COLOURS}
uniform int skip;
uniform float cut;
in vec2 pixel;
in vec3 world;
in float index;
void main() {
  ivec2 cell = clamp(ivec2(floor(pixel)), ivec2(0), size - 2);
  vec2 f = pixel - vec2(cell);
  uint bits = texelFetch(drawnMap, cell, 0).r;
  if ((bits & (f.x + f.y < 1. ? 1u : 2u)) == 0u) discard;
  ivec2 near = clamp(ivec2(floor(pixel + .5)), ivec2(0), size - 1);
  if (skip > 1 && abs(indexAt(near) - index) > cut) discard;
  if (clipped(world)) discard;
  colour = vec4(dressed(baseColour(pixel, near, world.z, index), pixel, world.z, index, gl_FrontFacing), 1.);
  spot = floatBitsToUint(pixel);
}`;

export const POINTS_VERTEX = `${HEAD}${GEOMETRY}
uniform usampler2D drawnMap;
uniform mat4 matrix;
uniform int skip, firstRow, columns;
uniform float pointSize;      // px of the screen times w
uniform vec3 clipLow, clipHigh;
flat out vec2 pixel;
flat out vec3 world;
flat out float index;
flat out float round_;
void main() {
  int row = gl_VertexID / columns;
  ivec2 p = min(ivec2(gl_VertexID - row * columns, firstRow + row) * skip, size - 1);
  index = indexAt(p);
  world = place(vec2(p), index);
  pixel = vec2(p);
  gl_Position = matrix * vec4(world, 1.);
  gl_PointSize = max(1., pointSize / gl_Position.w);
  round_ = gl_PointSize;
  bool hidden = (texelFetch(drawnMap, p, 0).r & 4u) == 0u || any(lessThan(world, clipLow)) || any(greaterThan(world, clipHigh));
  if (hidden) gl_Position = vec4(2., 2., 2., 1.);
}`;

export const POINTS_FRAGMENT = `${HEAD}${GEOMETRY}${COLOURS}
flat in vec2 pixel;
flat in vec3 world;
flat in float index;
flat in float round_;
void main() {
  if (round_ > 3. && length(gl_PointCoord - .5) > .5) discard;
  colour = vec4(dressed(baseColour(pixel, ivec2(pixel), world.z, index), pixel, world.z, index, true), 1.);
  spot = floatBitsToUint(pixel);
}`;

/** Slopes dz/dX, dz/dY of the surface at every pixel, from the Gaussian mean of differences that are no steps. */
export const SLOPES_FRAGMENT = `${HEAD}${GEOMETRY}
uniform usampler2D drawnMap;
uniform float cut;
uniform int reach;
out vec2 slope;
void main() {
  ivec2 p = min(ivec2(gl_FragCoord.xy) * reach + reach / 2, size - 1);
  float here = indexAt(p);
  float k = clamp(floor(here), 0., frames - 2.);
  float rise = texelFetch(planes, ivec2(2, int(k) + 1), 0).r - texelFetch(planes, ivec2(2, int(k)), 0).r;
  float wide = texelFetch(planes, ivec2(0, int(k)), 0).x * stride;
  vec2 top = vec2(0.), bottom = vec2(1e-9);
  for (int y = -2; y <= 2; y++) for (int x = -2; x <= 2; x++) {
    ivec2 q = p + ivec2(x, y) * reach;
    if (any(lessThan(q, ivec2(0))) || any(greaterThanEqual(q, size))) continue;
    float change = indexAt(q) - here;
    if ((texelFetch(drawnMap, q, 0).r & 8u) == 0u || abs(change) > cut * float(max(abs(x), abs(y)))) continue;
    vec2 d = vec2(float(x), -float(y)) * float(reach);
    float weight = exp(-float(x * x + y * y) / 4.5);
    top += weight * d * change;
    bottom += weight * d * d;
  }
  slope = clamp(top / bottom * rise / wide, -6e4, 6e4);
}`;

export const WHOLE_VERTEX = `${HEAD}
out vec2 uv;
void main() {
  uv = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
  gl_Position = vec4(uv * 2. - 1., 0., 1.);
}`;

/** The finished view over a quiet ground. */
export const FINISH_FRAGMENT = `${HEAD}
uniform sampler2D drawn;
uniform float paper;
in vec2 uv;
out vec4 colour;
void main() {
  vec4 c = texture(drawn, uv);
  float glow = exp(-3. * dot(uv - vec2(.5, .55), uv - vec2(.5, .55)));
  vec3 ground = paper > .5 ? vec3(1.) : mix(vec3(.045, .050, .058), vec3(.115, .125, .142), glow);
  float grain = fract(sin(dot(gl_FragCoord.xy, vec2(12.9898, 78.233))) * 43758.5453) / 255.;
  colour = vec4(c.rgb + (1. - c.a) * (ground + grain), 1.);
}`;

export const LINES_VERTEX = `${HEAD}
uniform mat4 matrix;
layout(location = 0) in vec3 place;
void main() { gl_Position = matrix * vec4(place, 1.); }`;

export const LINES_FRAGMENT = `${HEAD}
uniform vec4 ink;
out vec4 colour;
void main() { colour = vec4(ink.rgb * ink.a, ink.a); }`;

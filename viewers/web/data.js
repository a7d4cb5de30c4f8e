// Unpacks what viewers/payload.py packed into the page.

/**
 * What the first picture is made of, and `rest`, which gives the whole page or null where this was it.
 * A page: meta and typed arrays, the picture as an ImageBitmap, the small frames as blobs.
 */
export async function readPage() {
  const { coarse, ...meta } = JSON.parse(takeText("meta"));
  if (!coarse) return { page: await readWhole(meta), rest: async () => null };
  const page = await readParts("coarse.", { ...meta, ...coarse });
  return { page: { ...page, frames: Array(meta.frames).fill(null), isCoarse: true }, rest: () => readWhole(meta) };
}

async function readWhole(meta) {
  if (document.readyState === "loading") await new Promise((done) => document.addEventListener("DOMContentLoaded", done));
  const page = await readParts("", meta);
  const frames = Array.from({ length: meta.frames }, (_, k) => new Blob([bytesOf(`frame.${k}`)], { type: "image/jpeg" }));
  return { ...page, frames, isCoarse: false };
}

async function readParts(prefix, meta) {
  const [height, width] = meta.size, read = (name, Type) => readMap(prefix + name, Type, width, height, meta.rows);
  const [index, confidence, sigma, flags, picture] = await Promise.all([
    read("index", Uint16Array), read("confidence", Uint8Array), read("sigma", Uint8Array), read("flags", Uint8Array),
    createImageBitmap(new Blob([bytesOf(`${prefix}picture`)], { type: "image/jpeg" }), { colorSpaceConversion: "none" }),
  ]);
  return { meta, index, confidence, sigma, flags, picture };
}

function takeText(id) {
  const element = document.getElementById(id);
  const text = element.textContent;
  element.remove();
  return text;
}

export function decodeBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

export function bytesOf(id) {
  return decodeBase64(takeText(id));
}

export async function readMap(name, Type, width, height, rows) {
  const map = new Type(width * height);
  const blocks = [];
  for (let k = 0; k * rows < height; k++) blocks.push(readBlock(`${name}.${k}`, map, width, k * rows, Math.min(rows, height - k * rows)));
  await Promise.all(blocks);
  return map;
}

async function readBlock(id, map, width, top, rows) {
  const stream = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const block = map.subarray(top * width, (top + rows) * width);
  if (map.BYTES_PER_ELEMENT === 2) joinPlanes(bytes, block);
  else block.set(bytes);
  unpredict(block, width, rows);
}

function joinPlanes(bytes, block) {
  const count = block.length;
  for (let i = 0; i < count; i++) block[i] = bytes[i] | (bytes[count + i] << 8);
}

/** Zigzag residuals of left + above - corner become values again; typed arrays wrap as the packer did. */
function unpredict(block, width, rows) {
  let left = 0;
  for (let x = 0; x < width; x++) {
    block[x] = left + unfold(block[x]);
    left = block[x];
  }
  for (let y = 1; y < rows; y++) {
    let place = y * width;
    block[place] = unfold(block[place]) + block[place - width];
    for (const end = place + width - 1; place < end; ) {
      place++;
      block[place] = unfold(block[place]) + block[place - 1] + block[place - width] - block[place - width - 1];
    }
  }
}

function unfold(value) {
  return (value >>> 1) ^ -(value & 1);
}

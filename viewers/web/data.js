// Unpacks what viewers/payload.py packed into the page.

/** The whole page: meta and full-size typed arrays, the picture as an ImageBitmap, the small frames as blobs. */
export async function readPage() {
  const meta = JSON.parse(takeText("meta"));
  const [height, width] = meta.size;
  const [index, confidence, sigma, flags, picture] = await Promise.all([
    readMap("index", Uint16Array, width, height, meta.rows),
    readMap("confidence", Uint8Array, width, height, meta.rows),
    readMap("sigma", Uint8Array, width, height, meta.rows),
    readMap("flags", Uint8Array, width, height, meta.rows),
    createImageBitmap(new Blob([bytesOf("picture")], { type: "image/jpeg" }), { colorSpaceConversion: "none" }),
  ]);
  const frames = [];
  for (let k = 0; k < meta.frames; k++) frames.push(new Blob([bytesOf(`frame.${k}`)], { type: "image/jpeg" }));
  return { meta, index, confidence, sigma, flags, picture, frames };
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

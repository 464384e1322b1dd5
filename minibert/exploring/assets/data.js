// The data of the page: JSON in an element of its own, large parts packed (minibert/exploring/packing.py).

/** An array as whole numbers of steps; `at` gives a value, `row` all values of the last axis. */
class Values {
  constructor(shape, steps, numbers) {
    Object.assign(this, { shape, steps, numbers });
    this.strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((size, length) => size * length, 1));
  }

  at(...indices) {
    const place = indices.reduce((sum, index, axis) => sum + index * this.strides[axis], 0);
    return this.numbers[place] * this.stepOf(indices[0]);
  }

  row(...indices) {
    const start = indices.reduce((sum, index, axis) => sum + index * this.strides[axis], 0);
    const step = this.stepOf(indices[0]);
    return Float64Array.from(this.numbers.subarray(start, start + this.shape.at(-1)), (number) => number * step);
  }

  stepOf(first) {
    return this.steps.length === 1 ? this.steps[0] : this.steps[first];
  }
}

/** base64 of deflated bytes -> the bytes. */
async function inflated(data) {
  const characters = atob(data);
  const compressed = new Uint8Array(characters.length);
  for (let i = 0; i < characters.length; i++) compressed[i] = characters.charCodeAt(i);
  const stream = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Packed whole numbers -> Values. Of two-byte numbers all low bytes come first. */
async function unpacked({ shape, steps, bytes, data }) {
  const raw = await inflated(data);
  if (bytes === 1) return new Values(shape, steps, new Int8Array(raw.buffer));
  const size = raw.length / 2;
  const numbers = new Int16Array(size);
  for (let i = 0; i < size; i++) numbers[i] = raw[i] | (raw[size + i] << 8);
  return new Values(shape, steps, numbers);
}

const unpackedText = async ({ json }) => JSON.parse(new TextDecoder().decode(await inflated(json)));

/** The record as Python made it, with Values where it had large arrays. */
async function readData() {
  const record = JSON.parse(document.getElementById("data").textContent);
  const waiting = [];
  (function walk(part) {
    const put = (key, promise) => waiting.push(promise.then((found) => (part[key] = found)));
    for (const [key, value] of Object.entries(part)) {
      if (value === null || typeof value !== "object") continue;
      if ("data" in value && "steps" in value) put(key, unpacked(value));
      else if ("json" in value) put(key, unpackedText(value));
      else walk(value);
    }
  })(record);
  await Promise.all(waiting);
  return record;
}

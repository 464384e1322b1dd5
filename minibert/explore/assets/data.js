// The data of the page: JSON in an element of its own, large arrays packed (minibert/explore/packing.py).

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

/** base64 of deflated whole numbers -> Values. Of two-byte numbers all low bytes come first. */
async function unpacked({ shape, steps, bytes, data }) {
  const characters = atob(data);
  const compressed = new Uint8Array(characters.length);
  for (let i = 0; i < characters.length; i++) compressed[i] = characters.charCodeAt(i);
  const stream = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  if (bytes === 1) return new Values(shape, steps, new Int8Array(raw.buffer));
  const size = raw.length / 2;
  const numbers = new Int16Array(size);
  for (let i = 0; i < size; i++) numbers[i] = raw[i] | (raw[size + i] << 8);
  return new Values(shape, steps, numbers);
}

/** The record as Python made it, with Values where it had large arrays. */
async function readData() {
  const record = JSON.parse(document.getElementById("data").textContent);
  const waiting = [];
  (function walk(part) {
    for (const [key, value] of Object.entries(part)) {
      if (value === null || typeof value !== "object") continue;
      if ("data" in value && "steps" in value) waiting.push(unpacked(value).then((values) => (part[key] = values)));
      else walk(value);
    }
  })(record);
  await Promise.all(waiting);
  return record;
}

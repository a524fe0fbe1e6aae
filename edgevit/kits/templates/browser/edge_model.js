// Runs the model of this folder in onnxruntime-web, without edgevit: in WebAssembly (one thread), or
// on the GPU.
//
//     const model = await openModel();                          // or { webgpu: true }
//     await model.run({ images: { rows, columns, values } });   // outputs by name
//
// A picture is { rows, columns, values }: levels of 0..255, rows x columns x channels, of any size.
// Every other input is a flat array of numbers. The file kit.json says what goes in and out.

const DIST = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;

const ARRAYS = {
  uint8: Uint8Array,
  int8: Int8Array,
  int32: Int32Array,
  int64: BigInt64Array,
  float32: Float32Array,
};

/** Loads the model. With webgpu it runs on the GPU where the browser offers one, else as without;
 * place says which it is: "wasm" or "webgpu". */
export async function openModel({ webgpu = false } = {}) {
  const place = webgpu && (await navigator.gpu?.requestAdapter()) ? "webgpu" : "wasm";
  const ort = await import(`${DIST}ort.${place}.min.mjs`);
  ort.env.wasm.wasmPaths = DIST;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const kit = await (await fetch("kit.json")).json();
  const bytes = new Uint8Array(await (await fetch(kit.file)).arrayBuffer());
  const session = await ort.InferenceSession.create(bytes, { executionProviders: [place] });
  const run = async (inputs) => {
    const feeds = {};
    for (const entry of kit.inputs) feeds[entry.name] = new ort.Tensor(...prepare(inputs[entry.name], entry));
    const found = await session.run(feeds);
    return Object.fromEntries(kit.outputs.map(({ name }) => [name, withoutBatch(found[name])]));
  };
  return { kit, bytes, run, place };
}

/** {shape, values: Float32Array} of the first sample of a batch. */
function withoutBatch({ dims, data }) {
  const size = dims.slice(1).reduce((product, side) => product * side, 1);
  return { shape: dims.slice(1), values: Float32Array.from(data.subarray(0, size), Number) };
}

/** [type, values, shape] of one sample as the file takes it, as often as its batch. */
function prepare(given, entry) {
  if (given === undefined) throw new Error(`nothing is given for the input ${entry.name}`);
  let { values, shape } = given;
  if (entry.picture) {
    let picture = toPixels(given, entry);
    if (entry.prepare) picture = scale(picture, entry);
    values = picture.values;
    shape = [picture.rows, picture.columns, entry.channels];
  }
  const batch = entry.batch ?? 1;
  const convert = entry.dtype === "int64" ? BigInt : Number;
  const all = new ARRAYS[entry.dtype](batch * values.length);
  for (let index = 0; index < all.length; index++) all[index] = convert(values[index % values.length]);
  return [entry.dtype, all, [batch, ...shape]];
}

/** A picture in the size of the file: bilinear with antialiasing, to the bit as Pillow does it. */
export function toPixels(picture, { size: [rows, columns], channels, name }) {
  if (picture.values.length !== picture.rows * picture.columns * channels) {
    throw new Error(`${name} takes pictures of ${channels} channels`);
  }
  let { rows: height, columns: width, values } = picture;
  if (width !== columns) {
    values = resample(values, height, width, channels, columns, (row, x) => (row * width + x) * channels);
    width = columns;
  }
  if (height !== rows) {
    const turned = resample(values, width, height, channels, rows, (column, y) => (y * width + column) * channels);
    values = turnBack(turned, width, rows, channels);
  }
  return { rows, columns, values };
}

/** Lines of `before` pixels become lines of `after`; `at` says where a pixel of a line lies. */
function resample(values, lines, before, channels, after, at) {
  const found = new Uint8Array(lines * after * channels);
  const weights = coefficients(before, after);
  let place = 0;
  for (let line = 0; line < lines; line++) {
    for (const [first, shares] of weights) {
      for (let channel = 0; channel < channels; channel++) {
        let sum = 1 << 21; // half of a level: shares are in units of 2 ** -22
        for (let k = 0; k < shares.length; k++) sum += values[at(line, first + k) + channel] * shares[k];
        found[place++] = Math.min(Math.max(sum >> 22, 0), 255);
      }
    }
  }
  return found;
}

/** [first pixel, shares in 2 ** -22] of each new pixel: a triangle as wide as what it covers. */
function coefficients(before, after) {
  const step = before / after;
  const reach = Math.max(step, 1);
  return Array.from({ length: after }, (_, position) => {
    const centre = (position + 0.5) * step;
    const first = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const last = Math.min(Math.trunc(centre + reach + 0.5), before);
    const parts = [];
    for (let x = first; x < last; x++) {
      parts.push(Math.max(0, 1 - Math.abs((x - centre + 0.5) * (1 / reach))));
    }
    const sum = parts.reduce((total, part) => total + part, 0);
    return [first, parts.map((part) => Math.trunc(0.5 + (part / sum) * (1 << 22)))];
  });
}

/** Columns of rows to rows of columns. */
function turnBack(values, columns, rows, channels) {
  const found = new Uint8Array(values.length);
  for (let column = 0; column < columns; column++) {
    for (let row = 0; row < rows; row++) {
      const from = (column * rows + row) * channels;
      found.set(values.subarray(from, from + channels), (row * columns + column) * channels);
    }
  }
  return found;
}

/** What a network without preprocessing takes: resized (no antialiasing), cropped, scaled. */
function scale({ rows, columns, values }, { channels, prepare: contract }) {
  const [high, wide] = contract.resize;
  const [tall, broad] = contract.crop;
  const [top, left] = [(high - tall) >> 1, (wide - broad) >> 1];
  const found = new Float32Array(tall * broad * channels);
  for (let y = 0; y < tall; y++) {
    const [above, below, down] = neighbours(y + top, rows, high);
    for (let x = 0; x < broad; x++) {
      const [before, after, across] = neighbours(x + left, columns, wide);
      for (let c = 0; c < channels; c++) {
        const pixel = (row, column) => values[(row * columns + column) * channels + c];
        const one = pixel(above, before) + (pixel(below, before) - pixel(above, before)) * down;
        const two = pixel(above, after) + (pixel(below, after) - pixel(above, after)) * down;
        const level = one + (two - one) * across;
        found[(y * broad + x) * channels + c] = level * contract.scale[c] + contract.offset[c];
      }
    }
  }
  return { rows: tall, columns: broad, values: found };
}

/** [pixel before, pixel behind, share of the one behind], half-pixel centres. */
function neighbours(position, before, after) {
  const place = ((position + 0.5) * before) / after - 0.5;
  const low = Math.floor(place);
  const inside = (pixel) => Math.min(Math.max(pixel, 0), before - 1);
  return [inside(low), inside(low + 1), place - low];
}

/** What the outputs mean: {classes: [[name, probability], ...]}, {mask: {rows, columns, values}} or
 * {values: {name: array}}. */
export function interpret(kit, outputs) {
  const main = kit.outputs.find(({ name }) => name === kit.main);
  const { shape, values } = outputs[main.name];
  const done = main.activation !== "linear" || main.role === "probabilities";
  if ((main.role === "logits" || main.role === "probabilities") && shape.length === 1) {
    return { classes: rank(toShares(values, done), kit.labels) };
  }
  if (main.role === "mask") return { mask: toMask(shape, values, done) };
  return { values: Object.fromEntries(Object.entries(outputs).map(([name, o]) => [name, o.values])) };
}

function toShares(scores, done) {
  if (scores.length === 1) {
    const yes = done ? scores[0] : 1 / (1 + Math.exp(-scores[0]));
    return [1 - yes, yes];
  }
  if (done) return Array.from(scores);
  const highest = Math.max(...scores);
  const shares = Array.from(scores, (score) => Math.exp(score - highest));
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => share / sum);
}

function rank(shares, labels) {
  const names = shares.length === 2 && labels.length < 2 ? ["no", labels[0] ?? "yes"] : labels;
  const order = shares.map((_, index) => index).sort((a, b) => shares[b] - shares[a] || a - b);
  return order.map((index) => [names[index] ?? String(index), shares[index]]);
}

function toMask([rows, columns, classes], values, done) {
  const found = new Uint8Array(rows * columns);
  for (let pixel = 0; pixel < found.length; pixel++) {
    const own = values.subarray(pixel * classes, (pixel + 1) * classes);
    found[pixel] = classes === 1 ? own[0] > (done ? 0.5 : 0) : own.indexOf(Math.max(...own));
  }
  return { rows, columns, values: found };
}

/** The golden samples: {inputs, pixels, outputs} by name. */
export async function readGolden(kit) {
  const golden = await (await fetch("golden.json")).json();
  const pictures = new Set(kit.inputs.filter(({ picture }) => picture).map(({ name }) => name));
  const decodeAll = (arrays) =>
    Object.fromEntries(
      Object.entries(arrays).map(([name, array]) => {
        const found = decode(array);
        const [rows, columns] = found.shape;
        return [name, pictures.has(name) ? { rows, columns, values: found.values } : found];
      }),
    );
  return golden.map((sample) => ({
    inputs: decodeAll(sample.inputs),
    pixels: decodeAll(sample.pixels),
    outputs: Object.fromEntries(Object.entries(sample.outputs).map(([name, a]) => [name, decode(a)])),
  }));
}

/** An array out of {dtype, shape, base64}, little-endian. */
function decode({ dtype, shape, base64 }) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return { shape, values: new ARRAYS[dtype](bytes.buffer) };
}

/** {faults, lines}: what is wrong, and what was measured. */
export async function selfTest(model) {
  const { kit } = model;
  const faults = [];
  const lines = [];
  const digest = await sha256(model.bytes);
  if (digest && digest !== kit.sha256) faults.push(`${kit.file}: not the file that the kit was made of`);
  const samples = await readGolden(kit);
  for (const entry of kit.inputs.filter(({ picture }) => picture)) {
    const worst = Math.max(
      ...samples.map(({ inputs, pixels }) =>
        largest(toPixels(inputs[entry.name], entry).values, pixels[entry.name].values),
      ),
    );
    if (worst) faults.push(`${entry.name}: pixels differ by up to ${worst} levels`);
  }
  const totals = Object.fromEntries(kit.outputs.map(({ name }) => [name, 0]));
  for (const sample of samples) {
    const found = await model.run(sample.inputs);
    for (const name in totals) totals[name] += mean(found[name].values, sample.outputs[name].values);
  }
  for (const { name, spread } of kit.outputs) {
    const share = totals[name] / samples.length / spread;
    const text = `${(100 * share).toPrecision(2)} % of its spread`;
    lines.push(`${name}: mean difference ${text} (limit ${(100 * kit.limit).toPrecision(3)} %), ${samples.length} samples`);
    if (!(share <= kit.limit)) faults.push(`${name}: outputs differ by ${text}`);
  }
  return { faults, lines };
}

function largest(found, expected) {
  return found.reduce((worst, value, index) => Math.max(worst, Math.abs(value - expected[index])), 0);
}

function mean(found, expected) {
  return found.reduce((sum, value, index) => sum + Math.abs(value - expected[index]), 0) / found.length;
}

/** Hexadecimal digits; nothing where the page is not served from localhost or by https. */
async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return "";
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

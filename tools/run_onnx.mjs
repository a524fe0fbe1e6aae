// Classifies PNG pictures with an exported ONNX file in onnxruntime-web (WebAssembly), without edgevit.
//
//     npm ci --prefix tools/node
//     node tools/run_onnx.mjs shiftvit-onnx-int8.onnx cat.png dog.png
//     node tools/run_onnx.mjs shiftvit-onnx-int8.onnx --check
//     node tools/run_onnx.mjs fusion-onnx-float32.onnx cat.png pose=pose.json
//
// A picture has as many channels as the file takes: 1, 3 or 4. Every other input is named, a flat
// list of numbers in JSON. The file carries documents in its metadata: class names under "edgevit.labels", the
// preprocessing under "edgevit.preprocess", golden images with the float model's outputs under
// "edgevit.reference". Everything but the two imports below runs in a browser as it is.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const ARRAYS = { uint8: Uint8Array, int8: Int8Array, int32: Int32Array, float32: Float32Array };
const need = createRequire(new URL("node/package.json", import.meta.url));

// Mean difference of scores over their standard deviation, by precision: edgevit/core/tolerance.py
const LIMITS = { float32: 1e-4, float16: 0.01, dynamic: 0.15, int8: 0.15 };

/** The metadata of an ONNX file: {key: text}. ModelProto.metadata_props is field 14 (onnx.proto). */
export function readMetadata(bytes) {
  const text = new TextDecoder();
  const found = {};
  for (const [field, value] of fields(bytes)) {
    if (field !== 14) continue;
    const entry = Object.fromEntries(fields(value));
    found[text.decode(entry[1])] = text.decode(entry[2]);
  }
  return found;
}

/** [number, bytes] of each length-delimited field of a protobuf message. */
function* fields(bytes) {
  let place = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[place++];
      if (byte === undefined) throw new Error("the file is truncated");
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (place < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === 0) varint();
    else if (kind === 1) place += 8;
    else if (kind === 5) place += 4;
    else if (kind === 2) {
      const size = varint();
      if (place + size > bytes.length) throw new Error("the file is truncated");
      yield [Math.floor(tag / 8), bytes.subarray(place, place + size)];
      place += size;
    } else throw new Error("it is no ONNX file");
  }
}

/** A picture of {rows, columns, values: Float32Array of H W C} in another size, bilinear with
 * half-pixel centres; with antialias a shrunken pixel is the mean of what it covers. */
export function resize(picture, [rows, columns], antialias) {
  const channels = channelsOf(picture);
  const down = weights(picture.rows, rows, antialias);
  const across = weights(picture.columns, columns, antialias);
  const values = new Float32Array(rows * columns * channels);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      for (let channel = 0; channel < channels; channel++) {
        let sum = 0;
        for (const [y, share] of down[row]) {
          for (const [x, part] of across[column]) {
            sum += share * part * picture.values[(y * picture.columns + x) * channels + channel];
          }
        }
        values[(row * columns + column) * channels + channel] = sum;
      }
    }
  }
  return { rows, columns, values };
}

function channelsOf({ rows, columns, values }) {
  return values.length / (rows * columns);
}

/** For each new position [old position, share] of those that it is made of. */
function weights(before, after, antialias) {
  const step = before / after;
  const reach = antialias ? Math.max(1, step) : 1;
  return Array.from({ length: after }, (_, position) => {
    const centre = (position + 0.5) * step - 0.5;
    const parts = [];
    for (let old = Math.ceil(centre - reach); old <= centre + reach; old++) {
      const share = 1 - Math.abs(old - centre) / reach;
      if (share > 0 && antialias && (old < 0 || old >= before)) continue;
      if (share > 0) parts.push([Math.min(Math.max(old, 0), before - 1), share]);
    }
    const sum = parts.reduce((total, [, share]) => total + share, 0);
    return parts.map(([old, share]) => [old, share / sum]);
  });
}

/** Raw pixels, levels of 0..255, as the contract wants them for a network without preprocessing. */
function applyContract(picture, { resize: whole, network_size, scale, offset }) {
  const resized = resize(picture, whole ?? network_size, false);
  const { rows, columns, values } = crop(resized, network_size);
  const channels = channelsOf(resized);
  const scaled = values.map((value, index) => value * scale[index % channels] + offset[index % channels]);
  return { rows, columns, values: scaled };
}

/** The centre of a picture. */
function crop({ columns: width, rows: height, values }, [rows, columns]) {
  const channels = values.length / (width * height);
  const top = Math.floor((height - rows) / 2);
  const left = Math.floor((width - columns) / 2);
  const kept = new Float32Array(rows * columns * channels);
  for (let row = 0; row < rows; row++) {
    const start = ((row + top) * width + left) * channels;
    kept.set(values.subarray(start, start + columns * channels), row * columns * channels);
  }
  return { rows, columns, values: kept };
}

/** An array as edgevit writes it down: {dtype, shape, base64}, little-endian. */
function decode({ dtype, shape, base64 }) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const values = dtype === "uint8" ? bytes : new ARRAYS[dtype](bytes.buffer);
  return { shape, values };
}

/** The output that tells classes apart: {name, activation}. */
function findScores(manifest) {
  const outputs = manifest.signature?.outputs ?? [{ name: "logits", role: "logits", activation: "linear" }];
  const found = outputs.find(({ role }) => role === "logits" || role === "probabilities");
  if (!found) throw new Error("it tells no classes apart");
  return found;
}

/** Runs a file: {metadata, scores, picture, classify(samples) -> Float32Array of scores}; samples
 * holds a picture, or a flat array, for each input by its name. */
export async function open(ort, bytes) {
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const found = readMetadata(bytes);
  const metadata = Object.fromEntries(
    Object.entries(found)
      .filter(([key]) => key.startsWith("edgevit.") && key !== "edgevit.seal")
      .map(([key, text]) => [key.slice("edgevit.".length), JSON.parse(text)]),
  );
  if (!metadata.manifest) throw new Error("it carries no edgevit metadata");
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  const { inputs, preprocess_inside } = metadata.manifest;
  const scores = findScores(metadata.manifest);
  const contracts = preparations(metadata);
  const classify = async (samples) => {
    const feeds = {};
    for (const { name, dtype, shape } of inputs) {
      let values = samples[name];
      if (!values) throw new Error(`nothing is given for its input ${name}`);
      if (contracts[name]) {
        const raw = resize(values, contracts[name].input_size, true);
        raw.values = raw.values.map(Math.round);
        values = (preprocess_inside ? raw : applyContract(raw, contracts[name])).values;
      }
      feeds[name] = new ort.Tensor(dtype, ARRAYS[dtype].from(values), [1, ...shape.slice(1)]);
    }
    return (await session.run(feeds, [scores.name]))[scores.name].data;
  };
  return { metadata, scores, picture: pictureOf(metadata, contracts), classify };
}

/** The preprocessing of each input that takes a picture, by its name. */
function preparations({ manifest, preprocess }) {
  const known = manifest.signature?.inputs ?? [{ name: manifest.inputs[0].name, preparation: preprocess }];
  return Object.fromEntries(known.filter((input) => input.preparation).map((input) => [input.name, input.preparation]));
}

/** {name, channels} of the only input that takes a picture; nothing where several or none do. */
function pictureOf({ manifest }, contracts) {
  const found = manifest.inputs.filter(({ name }) => contracts[name]);
  return found.length === 1 ? { name: found[0].name, channels: found[0].shape.at(-1) } : undefined;
}

/** One sample of golden inputs: a picture with its size, or a flat array. */
function take({ shape, values }, number, contract) {
  const size = shape.slice(1).reduce((product, side) => product * side, 1);
  const own = values.subarray(number * size, (number + 1) * size);
  return contract ? { rows: shape[1], columns: shape[2], values: Float32Array.from(own) } : own;
}

/** Runs the golden images inside the file against the float model's outputs: true if they agree. */
async function check({ metadata, scores, classify }, name) {
  const contracts = preparations(metadata);
  const golden = Object.entries(metadata.reference.inputs).map(([key, { first }]) => [key, decode(first)]);
  const count = Math.min(...golden.map(([, { shape }]) => shape[0]));
  const logits = decode(metadata.reference.outputs[scores.name]).values;
  const classes = logits.length / metadata.reference.count;
  let [largest, total, same] = [0, 0, 0];
  for (let number = 0; number < count; number++) {
    const sample = golden.map(([key, array]) => [key, take(array, number, contracts[key])]);
    const answer = await classify(Object.fromEntries(sample));
    const expected = logits.subarray(number * classes, (number + 1) * classes);
    for (let label = 0; label < classes; label++) {
      const difference = Math.abs(answer[label] - expected[label]);
      if (!(difference <= largest)) largest = difference;
      total += difference;
    }
    same += best(answer)[0] === best(expected)[0];
  }
  const mean = logits.reduce((sum, value) => sum + value, 0) / logits.length;
  const spread = Math.sqrt(logits.reduce((sum, v) => sum + (v - mean) ** 2, 0) / logits.length);
  const relative = total / (count * classes) / spread;
  const limit = LIMITS[metadata.manifest.target.split("-")[1]];
  const passes = relative <= limit;
  console.log(
    `${name}: ${passes ? "pass" : "FAIL"}, ${count} golden images, max |diff| ` +
      `${largest.toPrecision(2)}, mean/std ${(100 * relative).toPrecision(2)} % ` +
      `(limit ${100 * limit} %), same top-1 ${same} of ${count}`,
  );
  return passes;
}

/** Places of the largest values, the largest first. */
function best(values, count = 1) {
  const order = Array.from(values, (_, index) => index).sort((a, b) => values[b] - values[a]);
  return order.slice(0, count);
}

/** One line with the five likeliest classes; of a single number no and yes. */
export function describe(values, { activation }, labels) {
  let shares = activation === "linear" ? softmax(values) : values;
  if (values.length === 1) {
    const yes = activation === "linear" ? 1 / (1 + Math.exp(-values[0])) : values[0];
    shares = [1 - yes, yes];
    labels = labels.length === 2 ? labels : ["no", labels[0] ?? "yes"];
  }
  return best(shares, 5)
    .map((k) => `${labels[k] ?? k} ${(100 * shares[k]).toFixed(1)} %`)
    .join(", ");
}

function softmax(logits) {
  const highest = Math.max(...logits);
  const shares = Array.from(logits, (value) => Math.exp(value - highest));
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => share / sum);
}

/** A picture of 1 (luma of ITU-R BT.601), 3 or 4 channels. */
function readPng(PNG, path, channels) {
  if (![1, 3, 4].includes(channels)) throw new Error(`the file takes ${channels} channels`);
  const { width, height, data } = PNG.sync.read(readFileSync(path));
  const values = Float32Array.from({ length: width * height * channels }, (_, index) => {
    const place = Math.floor(index / channels) * 4;
    if (channels > 1) return data[place + (index % channels)];
    return Math.round(0.299 * data[place] + 0.587 * data[place + 1] + 0.114 * data[place + 2]);
  });
  return { rows: height, columns: width, values };
}

function fail(message) {
  console.error(`run_onnx: error: ${message}`);
  process.exit(2);
}

async function main([file, ...rest]) {
  if (!file || !rest.length) fail("usage: run_onnx.mjs FILE.onnx (IMAGE.png... | --check)");
  let ort, PNG;
  try {
    ort = need("onnxruntime-web");
    ({ PNG } = need("pngjs"));
  } catch {
    fail("onnxruntime-web and pngjs are missing. Run: npm ci --prefix tools/node");
  }
  let model;
  try {
    model = await open(ort, new Uint8Array(readFileSync(file)));
  } catch (error) {
    fail(`${file}: cannot be used (${error.message})`);
  }
  if (rest.includes("--check")) {
    process.exitCode = (await check(model, file)) ? 0 : 1;
  }
  const samples = {};
  for (const argument of rest.filter((name) => name.includes("="))) {
    const [name, path] = argument.split("=", 2);
    try {
      samples[name] = JSON.parse(readFileSync(path, "utf8")).flat(Infinity);
    } catch (error) {
      fail(`${path}: no list of numbers in JSON (${error.message})`);
    }
  }
  for (const path of rest.filter((name) => name !== "--check" && !name.includes("="))) {
    if (!model.picture) fail(`${file}: takes more than one picture, or none`);
    try {
      samples[model.picture.name] = readPng(PNG, path, model.picture.channels);
    } catch (error) {
      fail(`${path}: no PNG that can be read (${error.message})`);
    }
    try {
      const found = await model.classify(samples);
      console.log(`${path}: ${describe(found, model.scores, model.metadata.labels ?? [])}`);
    } catch (error) {
      fail(`${file}: ${error.message}`);
    }
  }
}

if (process.argv[1] === new URL(import.meta.url).pathname) await main(process.argv.slice(2));

"""Runs the model of this folder on pictures and arrays, without edgevit.

    python edge_model.py photo.jpg
    python edge_model.py photo.jpg pose=pose.npy --out mask.png
    python edge_model.py --self-test

In a program, `Model().predict(frame)` takes a camera's frame: uint8 rows x columns x channels in
the order R, G, B, of any size. The file kit.json says what goes in and out.
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

FOLDER = Path(__file__).resolve().parent
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class Model:
    """The model of a folder, loaded in its runtime."""

    def __init__(self, folder=FOLDER, threads=1):
        self.folder = Path(folder)
        self.kit = json.loads((self.folder / "kit.json").read_text(encoding="utf-8"))
        path = str(self.folder / self.kit["file"])
        self._run = (open_tflite if path.endswith(".tflite") else open_onnx)(path, threads)
        self.pictures = [entry["name"] for entry in self.kit["inputs"] if entry["picture"]]

    def predict(self, picture=None, **arrays):
        """What the model says, see `interpret`.

        Args:
            picture: uint8 H W C of any size, for the only input that takes one.
            **arrays: every other input by its name, without the batch.
        """
        if picture is not None:
            if len(self.pictures) != 1:
                raise ValueError(f"inputs go by name: {', '.join(self.names)}")
            arrays[self.pictures[0]] = picture
        return interpret(self.kit, self.run(arrays))

    @property
    def names(self):
        """Of the inputs."""
        return [entry["name"] for entry in self.kit["inputs"]]

    def run(self, inputs):
        """float32 outputs by name, without the batch, of inputs by name."""
        missing = set(self.names) ^ set(inputs)
        if missing:
            raise ValueError(f"inputs are {', '.join(self.names)}; wrong: {', '.join(missing)}")
        return self._run({entry["name"]: prepare(inputs[entry["name"]], entry)
                          for entry in self.kit["inputs"]})  # fmt: skip


def prepare(values, entry):
    """One sample as the file takes it, with a batch."""
    values = np.asarray(values)
    if entry["picture"]:
        values = to_pixels(values, entry)
    if entry["prepare"]:
        values = scale(values, entry["prepare"])
    return np.repeat(values[None], entry["batch"] or 1, axis=0)


def to_pixels(picture, entry):
    """uint8 H W C in the size of the file: bilinear with antialiasing, channel by channel."""
    if picture.ndim != 3 or picture.dtype != np.uint8 or picture.shape[2] != entry["channels"]:
        raise ValueError(
            f"{entry['name']} takes uint8 rows x columns x {entry['channels']}; "
            f"this is {picture.dtype} {picture.shape}"
        )
    rows, columns = entry["size"]
    if picture.shape[:2] == (rows, columns):
        return picture
    planes = [Image.fromarray(plane) for plane in np.moveaxis(picture, -1, 0).copy()]
    resized = [plane.resize((columns, rows), Image.Resampling.BILINEAR) for plane in planes]
    return np.stack([np.asarray(plane) for plane in resized], axis=-1)


def scale(pixels, contract):
    """What a network without preprocessing takes: resized (no antialiasing), cropped, scaled."""
    x = pixels.astype(np.float32)
    for axis, length in enumerate(contract["resize"]):
        if x.shape[axis] != length:
            x = stretch(x, axis, length)
    rows, columns = contract["crop"]
    top, left = (x.shape[0] - rows) // 2, (x.shape[1] - columns) // 2
    x = x[top : top + rows, left : left + columns]
    return x * np.array(contract["scale"], np.float32) + np.array(contract["offset"], np.float32)


def stretch(x, axis, length):
    """Bilinear along one axis of H W C, with half-pixel centres."""
    old = x.shape[axis]
    position = (np.arange(length) + 0.5) * old / length - 0.5
    low = np.floor(position).astype(int)
    weight = (position - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    first = np.take(x, np.clip(low, 0, old - 1), axis=axis)
    second = np.take(x, np.clip(low + 1, 0, old - 1), axis=axis)
    return first + (second - first) * weight


def open_tflite(path, threads):
    """A function that runs a .tflite file in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=threads)
    runner = interpreter.get_signature_runner()
    entering, leaving = runner.get_input_details(), runner.get_output_details()

    def run(inputs):
        found = runner(**{name: quantise(inputs[name], entering[name]) for name in inputs})
        return {name: dequantise(found[name], leaving[name])[0] for name in found}

    return run


def quantise(values, detail):
    """Values in the element type of the file; integers with a scale get levels."""
    step, zero = detail["quantization"]
    wanted = np.dtype(detail["dtype"])
    if values.dtype == wanted or not step or wanted.kind == "f":
        return values.astype(wanted)
    limits = np.iinfo(wanted)
    levels = np.rint(values.astype(np.float64) / step) + zero
    return np.clip(levels, limits.min, limits.max).astype(wanted)


def dequantise(values, detail):
    """float32 of levels."""
    step, zero = detail["quantization"]
    if values.dtype.kind in "iu" and step:
        return (values.astype(np.float32) - zero) * np.float32(step)
    return values.astype(np.float32)


def open_onnx(path, threads):
    """A function that runs an .onnx file in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Without it, sums of 8-bit products saturate on x86 processors that have AVX2 and no VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    types = {entry.name: entry.type[len("tensor(") : -1] for entry in session.get_inputs()}
    types = {name: {"float": "float32", "double": "float64"}.get(t, t) for name, t in types.items()}
    names = [entry.name for entry in session.get_outputs()]

    def run(inputs):
        found = session.run(names, {name: x.astype(types[name]) for name, x in inputs.items()})
        return {name: x[0].astype(np.float32) for name, x in zip(names, found)}  # noqa: B905

    return run


def interpret(kit, outputs):
    """What the outputs of one sample mean.

    Returns:
        {"classes": [(name, probability), ...]}, {"mask": uint8 H W with a class for each pixel} or
        {name: values} of each output.
    """
    main = next(entry for entry in kit["outputs"] if entry["name"] == kit["main"])
    values = outputs[main["name"]]
    done = main["activation"] != "linear" or main["role"] == "probabilities"
    if main["role"] in ("logits", "probabilities") and values.ndim == 1:
        return {"classes": rank(to_shares(values, done), kit["labels"])}
    if main["role"] == "mask":
        if values.shape[-1] == 1:
            return {"mask": (values[..., 0] > (0.5 if done else 0.0)).astype(np.uint8)}
        return {"mask": values.argmax(-1).astype(np.uint8)}
    return dict(outputs)


def to_shares(scores, done):
    """Probabilities of classes; of a single number those of no and yes."""
    if len(scores) == 1:
        yes = scores if done else 1 / (1 + np.exp(-scores))
        return np.append(1 - yes, yes)
    if done:
        return scores
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


def rank(shares, labels):
    """(name, probability) of each class, the likeliest first."""
    if len(shares) == 2 and len(labels) < 2:
        labels = ["no", *(labels or ["yes"])]
    order = np.argsort(-shares, kind="stable")
    return [(labels[k] if k < len(labels) else str(k), float(shares[k])) for k in order]


def read_picture(path, channels):
    """uint8 H W channels, turned as the camera says."""
    picture = ImageOps.exif_transpose(Image.open(path)).convert(MODES[channels])
    return np.asarray(picture).reshape(picture.height, picture.width, channels)


def self_test(model):
    """The lines of what is wrong; none if everything is as it was at the export."""
    kit = model.kit
    content = (model.folder / kit["file"]).read_bytes()
    faults = []
    if hashlib.sha256(content).hexdigest() != kit["sha256"]:
        faults.append(f"{kit['file']}: not the file that the kit was made of (sha256 differs)")
    golden = json.loads((model.folder / "golden.json").read_text(encoding="utf-8"))
    samples = [{side: decode_all(values) for side, values in one.items()} for one in golden]
    for entry in kit["inputs"]:
        if entry["picture"]:
            faults += check_pixels(entry, samples)
    found = [model.run(sample["inputs"]) for sample in samples]
    for entry in kit["outputs"]:
        pairs = [(one[entry["name"]], sample["outputs"][entry["name"]])
                 for one, sample in zip(found, samples)]  # noqa: B905  # fmt: skip
        faults += check_output(entry, pairs, kit["limit"])
    return faults


def check_pixels(entry, samples):
    """Whether pictures are brought to the size of the file as they were at the export."""
    name, worst = entry["name"], 0
    for sample in samples:
        pixels = to_pixels(sample["inputs"][name], entry).astype(int)
        worst = max(worst, int(np.abs(pixels - sample["pixels"][name]).max()))
    if worst:
        return [f"{name}: pixels differ by up to {worst} levels: another resize, or another order "
                "of the channels"]  # fmt: skip
    return []


def check_output(entry, pairs, limit):
    """Whether an output is what it was: the mean difference in units of its spread."""
    error = np.mean([np.abs(found - expected).mean() for found, expected in pairs])
    share = float(error) / entry["spread"]
    print(f"{entry['name']}: mean difference {100 * share:.2g} % of its spread "
          f"(limit {100 * limit:g} %), {len(pairs)} samples")  # fmt: skip
    if share <= limit:  # False for NaN too
        return []
    return [f"{entry['name']}: outputs differ by {100 * share:.2g} % of their spread"]


def decode_all(arrays):
    """Arrays by name out of {dtype, shape, base64}."""
    return {
        name: np.frombuffer(base64.b64decode(a["base64"]), np.dtype(a["dtype"]).newbyteorder("<"))
        .astype(a["dtype"])
        .reshape(a["shape"])
        for name, a in arrays.items()
    }


def main():
    parser = argparse.ArgumentParser(description="Runs the model of this folder.")
    parser.add_argument("given", nargs="*", metavar="PICTURE|NAME=FILE.npy")
    parser.add_argument("--self-test", action="store_true", help="check the kit on this machine")
    parser.add_argument("--out", metavar="FILE", help="write a mask as a picture")
    options = parser.parse_args()
    if not options.given and not options.self_test:
        parser.error("give a picture, NAME=FILE.npy for other inputs, or --self-test")
    model = Model()
    if options.self_test:
        faults = self_test(model)
        print("\n".join([*(f"FAIL: {fault}" for fault in faults), "FAIL" if faults else "pass"]))
        sys.exit(1 if faults else 0)
    try:
        said = model.predict(**read_inputs(model, options.given))
    except (OSError, ValueError) as error:
        sys.exit(f"edge_model.py: error: {error}")
    show(said, options.out)


def read_inputs(model, given):
    """Arrays by the name of the input out of pictures and NAME=FILE."""
    found = {}
    free = [entry for entry in model.kit["inputs"] if entry["picture"]]
    for word in given:
        name, _, path = word.rpartition("=")
        if name and path.endswith(".npy"):
            found[name] = np.load(path)
            continue
        entries = [e for e in free if e["name"] not in found and name in ("", e["name"])]
        if not entries:
            raise ValueError(f"{word}: there is no further input that takes a picture")
        found[entries[0]["name"]] = read_picture(path or word, entries[0]["channels"])
    return found


def show(said, out):
    """Prints classes or values; a mask goes into a file."""
    if "classes" in said:
        print(", ".join(f"{name} {100 * share:.1f} %" for name, share in said["classes"][:3]))
    elif "mask" in said:
        classes, counts = np.unique(said["mask"], return_counts=True)
        print({int(k): int(n) for k, n in zip(classes, counts)})  # noqa: B905
        if out:
            Image.fromarray(said["mask"]).save(out)
    else:
        for name, values in said.items():
            print(f"{name} {values.shape}: {np.array2string(values.ravel()[:8], precision=4)}")


if __name__ == "__main__":
    main()

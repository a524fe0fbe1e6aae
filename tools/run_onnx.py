"""Classifies pictures with an exported ONNX file: numpy, Pillow and onnxruntime, no edgevit.

    python run_onnx.py shiftvit-onnx-float32.onnx cat.jpg dog.png
    python run_onnx.py fusion-onnx-float32.onnx cat.jpg pose=pose.npy

The file carries documents in its metadata: class names under "edgevit.labels" and the
preprocessing under "edgevit.preprocess". Files that edgevit exports take raw uint8 images and
resize and scale them inside; a bare network (--no-preprocess) takes floats, prepared here. Pictures
have as many channels as the file takes: 1, 3 or 4 out of a picture, any number out of an .npy of
H W C. Every other input is named: NAME=FILE.npy, one sample without the batch.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def open_model(path):
    """A session on one CPU thread, and the documents in the file's metadata."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # Without it, sums of 8-bit products saturate on x86 processors that have AVX2 and no VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    own = {key: text for key, text in metadata.items() if key.startswith("edgevit.")}
    return session, {key: json.loads(text) for key, text in own.items()}


def find_picture(session, arrays):
    """The input that takes a picture: the one that no array is given for."""
    names = [entry.name for entry in session.get_inputs()]
    free = [entry for entry in session.get_inputs() if entry.name not in arrays]
    if len(free) != 1 or len(free[0].shape) != 4 or not arrays.keys() <= set(names):
        needed = ", ".join(f"{entry.name} {entry.shape}" for entry in session.get_inputs())
        sys.exit(f"run_onnx.py: error: give a picture, and NAME=FILE.npy for the rest: {needed}")
    return free[0]


def resize(image, size):
    """uint8 1 H W C in another size of (rows, columns), channel by channel."""
    planes = [Image.fromarray(plane) for plane in np.moveaxis(image[0], -1, 0)]
    resized = [plane.resize(size[::-1], Image.Resampling.BILINEAR) for plane in planes]
    return np.stack(resized, axis=-1)[None]


def read_image(path, size, channels):
    """uint8 1 H W channels of the given (rows, columns), turned as the camera says."""
    if path.endswith(".npy"):
        return resize(np.load(path)[None], size)
    picture = ImageOps.exif_transpose(Image.open(path)).convert(MODES[channels])
    return resize(np.asarray(picture).reshape(1, picture.height, picture.width, channels), size)


def prepare(image, contract, entry):
    """Raw pixels to what the file takes; a bare network gets Pillow's resize, scale and offset."""
    if entry.type == "tensor(uint8)":
        return image
    x = resize(image, entry.shape[1:3]).astype(np.float32)
    return (x * contract.get("scale", 1) + contract.get("offset", 0)).astype(np.float32)


def find_scores(manifest):
    """(name of the output that tells classes apart, whether it holds probabilities already)."""
    outputs = (manifest.get("signature") or {}).get("outputs") or []
    for output in outputs:
        if output["role"] in ("logits", "probabilities"):
            return output["name"], output["activation"] != "linear"
    if outputs:
        roles = ", ".join(f"{output['name']}: {output['role']}" for output in outputs)
        sys.exit(f"run_onnx.py: error: the file tells no classes apart ({roles}).")
    return "logits", False


def to_shares(scores, done):
    """Probabilities of classes; of a single number those of no and yes."""
    if len(scores) == 1:
        yes = scores if done else 1 / (1 + np.exp(-scores))
        return np.append(1 - yes, yes)
    if done:
        return scores
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


def main():
    given = [argument for argument in sys.argv[2:] if "=" not in argument]
    if not given:
        sys.exit("usage: run_onnx.py FILE.onnx IMAGE... [NAME=FILE.npy...]")
    session, metadata = open_model(sys.argv[1])
    named = dict(argument.split("=", 1) for argument in sys.argv[2:] if "=" in argument)
    feeds = {name: np.load(path)[None] for name, path in named.items()}
    entry = find_picture(session, feeds)
    contract = metadata.get("edgevit.preprocess") or {"input_size": entry.shape[1:3]}
    labels = metadata.get("edgevit.labels", [])
    name, done = find_scores(metadata.get("edgevit.manifest", {}))
    for path in given:
        image = read_image(path, contract["input_size"], entry.shape[3])
        feeds[entry.name] = prepare(image, contract, entry)
        shares = to_shares(session.run([name], feeds)[0][0], done)
        if len(shares) == 2 and len(labels) < 2:
            labels = ["no", *(labels or ["yes"])]
        best = np.argsort(-shares)[:3]
        names = [labels[k] if k < len(labels) else str(k) for k in best]
        ranked = [f"{name} {100 * shares[k]:.1f} %" for name, k in zip(names, best, strict=True)]
        print(f"{path}: {', '.join(ranked)}")


if __name__ == "__main__":
    main()

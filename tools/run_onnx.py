"""Classifies pictures with an exported ONNX file: numpy, Pillow and onnxruntime, no edgevit.

    python run_onnx.py shiftvit-onnx-float32.onnx cat.jpg dog.png

The file carries documents in its metadata: class names under "edgevit.labels" and the
preprocessing under "edgevit.preprocess". Files that edgevit exports take raw uint8 images and
resize and scale them inside; a bare network (--no-preprocess) takes floats, prepared here.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def open_model(path):
    """A session on one CPU thread, and the documents in the file's metadata."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    return session, {key: json.loads(text) for key, text in metadata.items()}


def read_image(path, size):
    """uint8 1 H W 3 of the given (rows, columns), turned as the camera says."""
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR))[None]


def prepare(image, contract, entry):
    """Raw pixels to what the file takes; a bare network gets Pillow's resize, scale and offset."""
    if entry.type == "tensor(uint8)":
        return image
    rows, columns = entry.shape[1:3]
    enlarged = Image.fromarray(image[0]).resize((columns, rows), Image.Resampling.BILINEAR)
    x = np.asarray(enlarged, np.float32)[None]
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
    """Probabilities of classes."""
    if done:
        return scores
    if len(scores) == 1:
        return 1 / (1 + np.exp(-scores))
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: run_onnx.py FILE.onnx IMAGE...")
    session, metadata = open_model(sys.argv[1])
    entry = session.get_inputs()[0]
    contract = metadata.get("edgevit.preprocess") or {"input_size": entry.shape[1:3]}
    labels = metadata.get("edgevit.labels", [])
    name, done = find_scores(metadata.get("edgevit.manifest", {}))
    for path in sys.argv[2:]:
        image = read_image(path, contract["input_size"])
        scores = session.run([name], {entry.name: prepare(image, contract, entry)})[0][0]
        shares = to_shares(scores, done)
        best = np.argsort(-shares)[:3]
        names = [labels[k] if k < len(labels) else str(k) for k in best]
        ranked = [f"{name} {100 * shares[k]:.1f} %" for name, k in zip(names, best, strict=True)]
        print(f"{path}: {', '.join(ranked)}")


if __name__ == "__main__":
    main()

"""Runs the model of this folder in MediaPipe Tasks (@PICTURE_TASK@), without edgevit.

python edge_model.py photo.jpg
python edge_model.py --self-test
"""

import base64
import json
import sys
from pathlib import Path

import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision
from PIL import Image, ImageOps

FOLDER = Path(__file__).resolve().parent
TASK = "@PICTURE_TASK@"
MORE = {"ImageSegmenter": {"output_category_mask": True, "output_confidence_masks": False}}


def open_task(folder=FOLDER):
    """The task, with the model of the folder."""
    kit = json.loads((Path(folder) / "kit.json").read_text(encoding="utf-8"))
    base = BaseOptions(model_asset_path=str(Path(folder) / kit["file"]))
    options = getattr(vision, f"{TASK}Options")(base_options=base, **MORE.get(TASK, {}))
    return getattr(vision, TASK).create_from_options(options)


def ask(task, picture):
    """{class: score}, the class of each pixel, or the vector of a picture, uint8 H W 3."""
    image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
    if TASK == "ImageClassifier":
        found = task.classify(image).classifications[0].categories
        return {(row.category_name or str(row.index)): row.score for row in found}
    if TASK == "ImageSegmenter":
        result = task.segment(image)  # owns the pixels of its mask
        return result.category_mask.numpy_view().squeeze().copy()
    return task.embed(image).embeddings[0].embedding


def self_test(task):
    """Whether MediaPipe returns what the file returned when the kit was made."""
    kit = json.loads((FOLDER / "kit.json").read_text(encoding="utf-8"))
    golden = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))
    output = next(entry for entry in kit["outputs"] if entry["name"] == kit["main"])
    errors = []
    for sample in golden:  # pixels in the model's size: MediaPipe resizes in its own way
        picture = decode(next(iter(sample["pixels"].values())))
        expected = decode(sample["outputs"][kit["main"]])
        errors.append(compare(kit, ask(task, picture), expected, output["spread"]))
    worst = max(errors)
    limit = limit_of(kit)
    print(f"{len(golden)} samples, largest difference {100 * worst:.2g} % (limit {limit:.3g} %)")
    return 100 * worst <= limit


def compare(kit, found, expected, spread):
    """By the spread of the output; of a mask the share of pixels of another class."""
    if TASK == "ImageSegmenter":
        return float(np.mean(found != expected.argmax(-1)))
    if TASK == "ImageClassifier":
        names = kit["labels"] or [str(k) for k in range(len(expected))]
        found = np.array([found[" ".join(name.split())] for name in names])
    return float(np.abs(np.array(found) - expected).mean() / spread)


def limit_of(kit):
    """In percent; a pixel in a hundred may be of another class."""
    return 1.0 if TASK == "ImageSegmenter" else 100 * kit["limit"]


def decode(array):
    """An array out of {dtype, shape, base64}."""
    data = base64.b64decode(array["base64"])
    return np.frombuffer(data, array["dtype"]).reshape(array["shape"])


def main(arguments):
    if not arguments:
        sys.exit("usage: edge_model.py PICTURE... | --self-test")
    with open_task() as task:
        if arguments == ["--self-test"]:
            right = self_test(task)
            print("pass" if right else "FAIL")
            return 0 if right else 1
        for path in arguments:
            picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            print(f"{path}: {ask(task, np.asarray(picture))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

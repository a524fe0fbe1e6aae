"""Runs a TFLite file on pictures in a task of MediaPipe: KIND FILE PICTURES.npy ANSWER.json.

The answer: for a classifier {"names", "scores"} of each picture, best first; for a segmenter
{"masks", "labels"}; for an embedder {"vectors"}; {"refused": why} where MediaPipe refuses the file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision


def classify(task: Any, pictures: Iterable[Any]) -> dict[str, Any]:
    rows = [task.classify(picture).classifications[0].categories for picture in pictures]
    return {
        "names": [[row.category_name for row in found] for found in rows],
        "scores": [[row.score for row in found] for found in rows],
    }


def segment(task: Any, pictures: Iterable[Any]) -> dict[str, Any]:
    masks = []
    for picture in pictures:
        result = task.segment(picture)  # owns the pixels of its mask
        masks.append(result.category_mask.numpy_view().squeeze().copy())
    return {"masks": np.stack(masks).tolist(), "labels": list(task.labels)}


def embed(task: Any, pictures: Iterable[Any]) -> dict[str, Any]:
    found = [task.embed(picture).embeddings[0].embedding for picture in pictures]
    return {"vectors": np.stack(found).tolist()}


MASKS = {"output_category_mask": True, "output_confidence_masks": False}
TASKS = {
    "classify": (classify, vision.ImageClassifier, vision.ImageClassifierOptions, {}),
    "segment": (segment, vision.ImageSegmenter, vision.ImageSegmenterOptions, MASKS),
    "embed": (embed, vision.ImageEmbedder, vision.ImageEmbedderOptions, {}),
}


def main(kind: str, file: str, images: str, out: str) -> None:
    run, owner, options, more = TASKS[kind]
    pictures = (mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(row)) for row in np.load(images))
    try:
        chosen = options(base_options=BaseOptions(model_asset_path=file), **more)
        with owner.create_from_options(chosen) as task:
            answer = run(task, pictures)
    except (ValueError, RuntimeError) as error:
        answer = {"refused": str(error)}
    Path(out).write_text(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])

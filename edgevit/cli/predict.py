"""``edgevit predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgevit.cli import console, options


@click.command()
@options.file
@click.argument("images", nargs=-1, required=True, type=options.PATH)
@click.option("--top", type=options.COUNT, default=3, help="Classes.")
@options.runtime
@options.as_json
def predict(
    file: Path, images: tuple[Path, ...], top: int, runtime: str | None, as_json: bool
) -> None:
    """Classify pictures with an exported FILE, in its own runtime.

    A picture of any size is resized to what the file takes.

    \b
    edgevit predict exports/shiftvit-tflite-int8.tflite cat.jpg dog.png
    edgevit predict exports/shiftvit-tflite-int8.tflite cat.jpg --runtime tflm
    """
    import numpy as np

    from edgevit.data.images import read_image
    from edgevit.formats.registry import choose_runtime, open_session
    from edgevit.formats.session import image_size
    from edgevit.verification.parity import find_output

    answers: list[dict[str, Any]] = []
    kernels = choose_runtime(file, runtime).name if runtime else None
    with open_session(file, kernels) as session:
        size = image_size(session)
        names = session.manifest.class_names if session.manifest else ()
        pictures = [read_image(path, size) for path in images]  # all before any is classified
        for path, picture in zip(images, pictures, strict=True):
            logits = find_output(session.run(picture[None]), "logits", session)[0]
            weights = np.exp(logits - logits.max())
            shares = weights / weights.sum()
            order = np.argsort(-shares, kind="stable")[:top]
            found = [
                {
                    "class": names[index] if index < len(names) else str(index),
                    "index": int(index),
                    "probability": float(shares[index]),
                }
                for index in order
            ]
            answers.append({"image": str(path), "classes": found})

    def text() -> str:
        lines = []
        for entry in answers:
            ranked = ", ".join(
                f"{found['class']} {100 * found['probability']:.1f} %" for found in entry["classes"]
            )
            lines.append(f"{entry['image']}: {ranked}")
        return "\n".join(lines)

    console.answer(answers, as_json, text)

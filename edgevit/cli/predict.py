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
    """What an exported FILE says of pictures, in its own runtime.

    A picture of any size is resized to what the file takes.

    \b
    edgevit predict exports/shiftvit-tflite-int8.tflite cat.jpg dog.png
    edgevit predict exports/shiftvit-tflite-int8.tflite cat.jpg --runtime tflm
    """
    from edgevit.data.images import read_image
    from edgevit.formats.registry import choose_runtime, open_session
    from edgevit.formats.session import find_picture, image_size, read_signature
    from edgevit.tasks import find_task

    answers: list[dict[str, Any]] = []
    kernels = choose_runtime(file, runtime).name if runtime else None
    with open_session(file, kernels) as session:
        size, channels = image_size(session), find_picture(session).shape[-1] or 3
        manifest, signature = session.manifest, read_signature(session)
        task = find_task(manifest.task if manifest else "classification")
        names = manifest.class_names if manifest else ()
        # All are read before any is run.
        pictures = [read_image(path, size, channels) for path in images]
        for path, picture in zip(images, pictures, strict=True):
            found = {name: values[0] for name, values in session.run(picture[None]).items()}
            if len(found) == 1:  # the only output goes by any name
                found = {signature.outputs[0].name: next(iter(found.values()))}
            answers.append({"image": str(path), **task.describe(found, signature, names, top)})

    console.answer(
        answers,
        as_json,
        lambda: "\n".join(f"{entry['image']}: {task.in_words(entry)}" for entry in answers),
    )

"""``edgevit predict``."""

from __future__ import annotations

from pathlib import Path

import click

from edgevit.cli import console, options


@click.command()
@options.file
@click.argument("samples", nargs=-1, required=True, type=options.PATH)
@click.option("--top", type=options.COUNT, default=3, help="Classes.")
@click.option(
    "--out",
    type=options.PATH,
    metavar="DIR",
    help="Folder for masks (PNG, the class of each pixel as its level) and embeddings (.npy).",
)
@click.option(
    "--scaling",
    type=options.SCALING,
    help="A FILE of another tool: the pixels that it expects.",
)
@options.runtime
@options.as_json
def predict(
    file: Path,
    samples: tuple[Path, ...],
    top: int,
    out: Path | None,
    scaling: str | None,
    runtime: str | None,
    as_json: bool,
) -> None:
    """What an exported FILE says of pictures, in its own runtime.

    Classes, values, a mask or a vector, as its task is. A picture of any size is resized to what
    the file takes; a folder stands for the pictures in it. A file with several inputs takes an .npz
    with an array for each, by its name.

    \b
    edgevit predict exports/shiftvit-tflite-int8.tflite cat.jpg dog.png
    edgevit predict exports/shiftvit-tflite-int8.tflite photos/
    edgevit predict exports/shiftvit-tflite-int8.tflite cat.jpg --runtime tflm
    edgevit predict exports/unet-tflite-int8.tflite street.jpg --out masks
    edgevit predict exports/fusion-onnx-int8.onnx samples.npz
    """
    from edgevit.verbs.predict import predict as run

    found = run(file, samples, top=top, runtime=runtime, out=out, scaling=scaling)
    document = [
        {
            "image": entry.image,
            **entry.result,
            **({"saved": str(entry.saved)} if entry.saved else {}),
        }
        for entry in found
    ]
    lines = [
        f"{entry.image}: {entry.text}"
        + (f" -> {console.shown_path(entry.saved)}" if entry.saved else "")
        for entry in found
    ]
    console.answer(document, as_json, lambda: "\n".join(lines))

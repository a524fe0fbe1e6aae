"""``edgevit deploy``."""

from __future__ import annotations

from pathlib import Path

import click

from edgevit.cli import console, options
from edgevit.kits.table import PLACES


@click.command()
@options.file
@click.option(
    "--to",
    required=True,
    metavar="PLACE",
    help=f"Where it shall run: {', '.join(PLACES)}.",
)
@click.option(
    "--out",
    type=options.PATH,
    metavar="DIR",
    help="The folder. Default: kits/FILE-PLACE.",
)
@click.option("--force", is_flag=True, help="Replace a folder that is there.")
@options.as_json
def deploy(file: Path, to: str, out: Path | None, force: bool, as_json: bool) -> None:
    """Write a folder that runs an exported FILE elsewhere, without edgevit.

    The folder holds the file, its labels, pre- and postprocessing in the language of the place,
    golden inputs with the outputs that the file returned here, a self-test that uses them, and a
    README of one page. It appears whole or not at all.

    \b
    python           numpy, Pillow and LiteRT or onnxruntime
    browser          a static page for .onnx files, with onnxruntime-web
    mediapipe        MediaPipe Tasks: Android, iOS, web, Python
    microcontroller  C++ for TensorFlow Lite Micro
    ethos-u...       the same with Arm's NPU, and what its compiler, Vela, placed where
    \b
    edgevit deploy exports/shiftvit-tflite-int8.tflite --to python
    edgevit deploy exports/shiftvit-onnx-int8.onnx --to browser --out page
    edgevit deploy exports/resnet-tflite-int8-micro.tflite --to microcontroller
    edgevit deploy exports/shiftvit-tflite-int8-npu.tflite --to ethos-u85-256
    """
    from edgevit.verbs.deploy import deploy as run

    with console.working() as work:
        kit = run(file, to, out, force=force, status=work.status)

    def text() -> str:
        return "\n".join(
            [
                f"{console.shown_path(kit.path)}: {len(kit.files)} files, "
                f"{console.megabytes(kit.size_bytes)} MB",
                f"self-test there: {kit.place.self_test}",
            ]
        )

    document = {
        "path": kit.path,
        "place": kit.place.name,
        "files": kit.files,
        "size_bytes": kit.size_bytes,
        "self_test": kit.place.self_test,
    }
    console.answer(document, as_json, text)

"""Measures how accuracy bears JPEG and shifts, and puts the table into the model's card.

    python tools/record_robustness.py shiftvit --data cifar10-jpeg.tar.gz \\
        --files exports/shiftvit-tflite-int8.tflite

The float model by Keras, and any exported file by its own runtime, on all test images as they are
and after each degradation of edgevit/data/degradations.py. The measurements go into
artifacts/MODEL/robustness.json, the table of them into the README.md beside it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["KERAS_BACKEND"] = "tensorflow"

from edgevit.base.documents import to_json
from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.base.files import write_whole
from edgevit.core.parity import AccuracyReport
from edgevit.data.degradations import DEGRADATIONS
from edgevit.formats.registry import read_metadata
from edgevit.models.shipped import ARTIFACTS, folder_name
from edgevit.verbs.evaluate import evaluate_robustness

FILE = "robustness.json"
BEGIN, END = "<!-- robustness -->", "<!-- end of robustness -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="an architecture with shipped weights, or one of its sizes")
    parser.add_argument("--data", required=True, help="the dataset that it was trained on")
    parser.add_argument("--files", type=Path, nargs="*", default=[], help="files exported from it")
    parser.add_argument("--limit", type=int, help="so many images only: for a trial")
    options = parser.parse_args()
    folder = ARTIFACTS / folder_name(options.model)
    measured = {"keras-float32": evaluate_robustness(options.model, options.data, options.limit)}
    for path in options.files:
        target = target_of(path)
        print(f"{target}: {path.name}")
        measured[target] = evaluate_robustness(path, options.data, options.limit)
    record_robustness(folder, measured)
    print(draw_table(measured))


def record_robustness(folder: Path, measured: dict[str, dict[str, AccuracyReport]]) -> None:
    """Writes the measurements, and the table into the card."""
    write_whole(folder / FILE, (to_json(document_of(measured), indent=2) + "\n").encode())
    card = folder / "README.md"
    write_whole(card, with_section(card.read_text(), draw_section(measured)).encode())


def document_of(measured: dict[str, dict[str, AccuracyReport]]) -> dict[str, Any]:
    return {
        "degradations": {way.name: way.summary for way in DEGRADATIONS},
        "accuracy": measured,
    }


def draw_section(measured: dict[str, dict[str, AccuracyReport]]) -> str:
    """The section of a card: what was done, and a table with one row a file."""
    images = next(iter(next(iter(measured.values())).values())).images
    ways = "; ".join(f"{way.name}: {way.summary}" for way in DEGRADATIONS)
    return "\n".join(
        [
            BEGIN,
            f"Top-1 on the same {images:,} test images, as they are and degraded ({ways}):",
            "",
            draw_table(measured),
            END,
        ]
    )


def draw_table(measured: dict[str, dict[str, AccuracyReport]]) -> str:
    """Top-1 in percent: one row a file, one column a degradation."""
    columns = list(next(iter(measured.values())))
    lines = [["model", *columns], ["---"] * (1 + len(columns))]
    for name, reports in measured.items():
        lines.append([name, *(f"{reports[column].top1:.2f} %" for column in columns)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def with_section(card: str, section: str) -> str:
    """The card with this section in its place: where one was, else before the table of files.

    Raises:
        ConfigError: there is no such place.
    """
    if BEGIN in card and END in card:
        before, _, rest = card.partition(BEGIN)
        return before + section + rest.partition(END)[2]
    before, heading, after = card.partition("| file | what |")
    if not heading:
        raise ConfigError("the card has no table of files ('| file | what |') to put it before")
    return f"{before}{section}\n\n{heading}{after}"


def target_of(path: Path) -> str:
    """The target that a file was exported to, from its own metadata."""
    found = read_metadata(path).manifest
    if found is None:
        raise ModelFileError(f"{path}: carries no manifest. Export it with 'edgevit export'.")
    return found.target


if __name__ == "__main__":
    main()

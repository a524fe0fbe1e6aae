"""Accuracy, agreement, parity and size of every target of a model, on all test images.

    python benchmarks/accuracy_of_targets.py shiftvit --data cifar10.tar.gz \\
        --json benchmarks/results/accuracy_of_targets_shiftvit.json

Float Keras classifies the test images once; each target is exported, verified, and classifies them
in its own runtime. The difference between the two is that of the same images, with its 95 %
interval (bootstrap) and the p-value of McNemar's exact test. Differences of logits are those of the
golden images and of the test images. A run that was cut off goes on where it was: rows of the same
weights, commit and machine stay as they are.

A .keras file is measured as well, one of benchmarks/small_networks.py say: a classifier that takes
raw pixels. It is calibrated on --calibration images of the training split.

    python benchmarks/accuracy_of_targets.py FOLDER/mobilenetv2.keras --data cifar10.tar.gz
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from provenance import KEY, provenance, result_path

from edgevit.base.documents import to_json
from edgevit.base.files import digest_path
from edgevit.base.statistics import PairedDrop
from edgevit.data.datasets import ImageDataset, find_source, limit_images, load_dataset
from edgevit.formats.registry import find_targets, open_session
from edgevit.frontend.opening import open_source
from edgevit.frontend.record_reference import float_outputs
from edgevit.frontend.source import Source
from edgevit.reports.text import summarise_parity
from edgevit.tasks import find_task
from edgevit.verbs.export import export
from edgevit.verbs.outcome import Outcome
from edgevit.verification.audit import inspect
from edgevit.verification.parity import find_output, measure_parity, run_all, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "model", help="as `edgevit models` calls it, such as shiftvit:nano, or a .keras file"
    )
    parser.add_argument("--data", help="dataset; default: $EDGEVIT_DATA")
    parser.add_argument("--targets", default="all", help="commas between")
    parser.add_argument("--calibration", type=int, default=300, help="images, of a .keras file")
    parser.add_argument("--json", type=result_path, help="where to write the figures")
    options = parser.parse_args()
    targets = find_targets(options.targets)
    source = open_source(options.model)
    given, size = find_source(options.data), source.preprocess.input_size
    dataset, calibration = load_dataset(given, "test", size), None
    name, weights = options.model, {}
    if Path(name).suffix == ".keras":
        name = Path(name).name
        weights = {name: source.weights_sha256}
        calibration = limit_images(load_dataset(given, "train", size), options.calibration).images
    came_from = provenance([] if weights else [name], weights)
    rows = read_rows(options.json, came_from) if options.json else {}
    output = find_task(source.task).main_output(source.signature).name
    started = time.perf_counter()
    expected = run_all(lambda images: float_outputs(source, images)[output], dataset.images)
    keras = score(expected, dataset.labels, "keras", dataset.source, time.perf_counter() - started)
    rows = {"keras": {**asdict(keras), "model": name}, **rows}
    print(f"{name}: {keras.top1:.2f} % of {len(dataset):,} images of {dataset.source}")
    for target in targets:
        if target.name not in rows:
            written = partial(export, options.model, target.name, calibration=calibration)
            rows[target.name] = measure(written, source, output, dataset, expected)
            if options.json:
                options.json.write_text(to_json({KEY: came_from, **rows}, indent=1) + "\n")
        print_row(target.name, rows[target.name])


def read_rows(path: Path, came_from: dict[str, Any]) -> dict[str, Any]:
    """The rows that an earlier run wrote, if it ran the same code and weights on this machine."""
    found = json.loads(path.read_text()) if path.exists() else {}
    same = found.pop(KEY, None) == came_from
    return {name: row for name, row in found.items() if name != "keras"} if same else {}


def measure(
    write: Callable[..., Outcome],
    source: Source,
    output: str,
    dataset: ImageDataset,
    expected: np.ndarray,
) -> dict[str, Any]:
    """The figures of one target.

    Args:
        write: exports the target into a folder.
        source: the model.
        output: name of its scores.
        dataset: that the file classifies.
        expected: the float model's logits of it, B classes.
    """
    with tempfile.TemporaryDirectory() as folder:
        outcome = write(folder, keep_failed=True)
        assert outcome.artifact is not None
        path = outcome.artifact.path
        started = time.perf_counter()
        with open_session(path) as session:
            logits = run_all(
                lambda images: find_output(session.run(images), output, session),
                dataset.images,
            )
            seconds = time.perf_counter() - started
            runtime = session.runtime
        right, found = (np.argmax(some, axis=-1) == dataset.labels for some in (expected, logits))
        drop, contents = PairedDrop.of(right, found), inspect(path)
        outputs = {output: logits}, {output: expected}
        parity = measure_parity(*outputs, source.signature, runtime)
        lost = drop.interval()
        return {
            "verdict": outcome.verdict,
            "accuracy": asdict(score(logits, dataset.labels, runtime, dataset.source, seconds)),
            "drop": {
                "points": drop.points,
                "interval": [lost.low, lost.high],
                "only_float_right": drop.lost,
                "only_file_right": drop.won,
                "mcnemar_p": drop.p_value,
            },
            "test_images": parity.to_document(),
            "golden_images": summarise_parity(outcome.reports),
            "sha256": digest_path(path),
            "size_bytes": contents.size_bytes,
            "integer_only": contents.integer_only,
        }


def print_row(target: str, row: dict[str, Any]) -> None:
    low, high = row["drop"]["interval"]
    print(
        f"{target:20} {row['accuracy']['top1']:6.2f} %, {0 - row['drop']['points']:+.2f} points "
        f"({0 - high:+.2f} to {0 - low:+.2f}), same class "
        f"{100 * row['test_images']['top1_agreement']:.2f} %, golden images "
        f"{row['golden_images']['max_abs']:.2g}, {row['size_bytes'] / 1e6:.2f} MB, "
        f"{row['verdict']}",
        flush=True,
    )


if __name__ == "__main__":
    main()

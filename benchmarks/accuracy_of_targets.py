"""Accuracy, agreement, parity and size of every target of a shipped model, on all test images.

    python benchmarks/accuracy_of_targets.py shiftvit --data cifar10.tar.gz \\
        --json benchmarks/results/accuracy_of_targets_shiftvit.json

Float Keras classifies the test images once; each target is exported, verified, and classifies them
in its own runtime. The difference between the two is that of the same images, with its 95 %
interval (bootstrap) and the p-value of McNemar's exact test. Differences of logits are those of the
golden images and of the test images. A run that was cut off goes on where it was: rows of the same
weights, commit and machine stay as they are.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from provenance import KEY, provenance, result_path, write_result

from edgevit.base.files import digest_path
from edgevit.base.statistics import PairedDrop
from edgevit.data.datasets import ImageDataset, find_source, load_dataset
from edgevit.formats.registry import find_targets, open_session
from edgevit.frontend.opening import open_source
from edgevit.frontend.record_reference import float_outputs
from edgevit.frontend.source import Source
from edgevit.reports.text import summarise_parity
from edgevit.verbs.export import export
from edgevit.verification.audit import inspect
from edgevit.verification.parity import find_output, measure_parity, run_all, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="as `edgevit models` calls it, such as shiftvit:nano")
    parser.add_argument("--data", help="dataset; default: $EDGEVIT_DATA")
    parser.add_argument("--targets", default="all", help="commas between")
    parser.add_argument("--json", type=result_path, help="where to write the figures")
    options = parser.parse_args()
    targets = find_targets(options.targets)
    source = open_source(options.model)
    dataset = load_dataset(find_source(options.data), "test", source.preprocess.input_size)
    rows = read_rows(options.json, options.model) if options.json else {}
    started = time.perf_counter()
    expected = run_all(lambda images: float_outputs(source, images)["logits"], dataset.images)
    keras = score(expected, dataset.labels, "keras", dataset.source, time.perf_counter() - started)
    rows = {"keras": {**asdict(keras), "model": options.model}, **rows}
    print(f"{options.model}: {keras.top1:.2f} % of {len(dataset):,} images of {dataset.source}")
    for target in targets:
        if target.name not in rows:
            rows[target.name] = measure(options.model, source, target.name, dataset, expected)
            if options.json:
                write_result(options.json, rows, [options.model])
        print_row(target.name, rows[target.name])


def read_rows(path: Path, model: str) -> dict[str, Any]:
    """The rows that an earlier run wrote, if it ran the same code and weights on this machine."""
    found = json.loads(path.read_text()) if path.exists() else {}
    same = found.pop(KEY, None) == provenance([model])
    return {name: row for name, row in found.items() if name != "keras"} if same else {}


def measure(
    model: str, source: Source, target: str, dataset: ImageDataset, expected: np.ndarray
) -> dict[str, Any]:
    """The figures of one target.

    Args:
        model: as `edgevit export` takes it.
        source: the same, opened.
        target: name.
        dataset: that the file classifies.
        expected: the float model's logits of it, B classes.
    """
    with tempfile.TemporaryDirectory() as folder:
        outcome = export(model, target, folder, keep_failed=True)
        assert outcome.artifact is not None
        path = outcome.artifact.path
        started = time.perf_counter()
        with open_session(path) as session:
            logits = run_all(
                lambda images: find_output(session.run(images), "logits", session),
                dataset.images,
            )
            seconds = time.perf_counter() - started
            runtime = session.runtime
        right, found = (np.argmax(some, axis=-1) == dataset.labels for some in (expected, logits))
        drop, contents = PairedDrop.of(right, found), inspect(path)
        outputs = {"logits": logits}, {"logits": expected}
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

"""Accuracy, agreement, parity and size of every target of a model, on all test images.

    python benchmarks/accuracy_of_targets.py --data cifar10.tar.gz --exports exports

Float Keras classifies the test images once; each exported file classifies them in its own runtime.
The difference between the two is that of the same images, with its 95 % interval (bootstrap); the
JSON has the p-value of McNemar's exact test too. Differences of logits are those of the golden
images (`edgevit verify`) and of the test images.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np

from edgevit.base.documents import to_json
from edgevit.base.files import digest_path
from edgevit.base.statistics import PairedDrop
from edgevit.core.target import find_targets
from edgevit.data.datasets import find_source, load_dataset
from edgevit.formats.registry import open_session
from edgevit.frontend.opening import open_source
from edgevit.frontend.record_reference import float_logits
from edgevit.reports.text import summarise_parity
from edgevit.verbs.verify import verify
from edgevit.verification.audit import inspect
from edgevit.verification.parity import find_output, measure_parity, run_all, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="shiftvit")
    parser.add_argument("--data", help="dataset; default: $EDGEVIT_DATA")
    parser.add_argument("--exports", type=Path, default=Path("exports"), help="exported files")
    parser.add_argument("--targets", default="all", help="commas between")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    targets = find_targets(options.targets)
    source = open_source(options.model)
    dataset = load_dataset(find_source(options.data), "test", source.preprocess.input_size)
    print(f"{options.model}: {len(dataset):,} test images of {dataset.source}")
    print(
        f"{'':16} {'top-1 %':>8} {'top-5 %':>8} {'points won (95 %)':>22} {'same top-1 %':>13} "
        f"{'golden max':>11} {'test max':>9} {'MB':>6}  integer only"
    )
    started = time.perf_counter()
    expected = run_all(lambda images: float_logits(source, images), dataset.images)
    keras = score(expected, dataset.labels, "keras", dataset.source, time.perf_counter() - started)
    print(f"{'float Keras':16} {keras.top1:8.2f} {keras.top5:8.2f}")
    right = np.argmax(expected, axis=-1) == dataset.labels
    of = {"model": options.model, "weights_sha256": source.weights_sha256}
    rows = {"keras": {**asdict(keras), **of}}
    for target in targets:
        path = options.exports / target.file_name(source.name)
        golden = summarise_parity(verify(path).reports)
        started = time.perf_counter()
        with open_session(path) as session:
            logits = run_all(
                lambda images, session=session: find_output(session.run(images), "logits", session),
                dataset.images,
            )
            seconds = time.perf_counter() - started
            accuracy = score(logits, dataset.labels, session.runtime, dataset.source, seconds)
            drop = PairedDrop.of(right, np.argmax(logits, axis=-1) == dataset.labels)
            lost = drop.interval()
            parity = measure_parity(logits, expected, session.runtime)
        found = inspect(path)
        print(
            f"{target.name:16} {accuracy.top1:8.2f} {accuracy.top5:8.2f} "
            f"{0 - lost.middle:+7.2f} ({0 - lost.high:+.2f}, {0 - lost.low:+.2f}) "
            f"{100 * parity.top1_agreement:13.2f} "
            f"{golden['max_abs']:11.2g} {parity.max_abs:9.2g} {found.size_bytes / 1e6:6.2f}  "
            f"{found.integer_only}",
            flush=True,
        )
        rows[target.name] = {
            "accuracy": accuracy,
            "drop": {
                "points": drop.points,
                "interval": [lost.low, lost.high],
                "only_float_right": drop.lost,
                "only_file_right": drop.won,
                "mcnemar_p": drop.p_value,
            },
            "test_images": parity,
            "golden_images": golden,
            "sha256": digest_path(path),
            "size_bytes": found.size_bytes,
            "integer_only": found.integer_only,
        }
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(to_json(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What each step before quantising contributes to an integer-only TFLite file.

    python benchmarks/surgery_table.py --data cifar10.tar.gz --json results/surgery_table.json

Each row is one int8 file of the same weights, calibrated on the same training images on its own
float graph. Every file classifies the same test images; then all of them are timed in turns.
"alone" rows hold the integer-friendly norm and one further step, "without" rows everything that is
done by default but one step. Each is compared with float Keras image by image: how many images only
one of the two gets right, and the exact p-value of McNemar's test for such a split by chance.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from report import publish

from edgevit.base.statistics import PairedDrop
from edgevit.bench.environment import describe_environment
from edgevit.bench.measure import measure_interleaved
from edgevit.core.target import Format, find_target
from edgevit.data.calibration import sample_source
from edgevit.data.datasets import find_source
from edgevit.formats.calibration import CALIBRATION_IMAGES, calibrate
from edgevit.formats.registry import open_session
from edgevit.formats.tflite.runtime.litert import open_interpreter
from edgevit.formats.tflite.writer.convert import export_tflite
from edgevit.formats.tflite.writer.passes.table import DEFAULT_STEPS, STEPS, find_steps
from edgevit.frontend.opening import load_test, open_source
from edgevit.frontend.record_reference import float_logits
from edgevit.frontend.source import ExportOptions, Source
from edgevit.verification.audit import inspect
from edgevit.verification.parity import find_output, run_all

BASE = "centre-norms"


@dataclass(frozen=True)
class Row:
    """One file.

    Attributes:
        name: of the row.
        steps: of surgery.
    """

    name: str
    steps: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="shiftvit")
    parser.add_argument("--data", help="dataset; default: $EDGEVIT_DATA")
    parser.add_argument("--images", type=int, default=CALIBRATION_IMAGES, help="for calibration")
    parser.add_argument("--limit", type=int, help="test images; default: all")
    parser.add_argument("--rounds", type=int, default=200, help="samples for each candidate")
    parser.add_argument("--json", type=Path, help="where to write figures and raw samples")
    options = parser.parse_args()
    data = find_source(options.data)
    source = open_source(options.model)
    sample = sample_source(data, source.preprocess.input_size, options.images)
    tests = load_test(data, source.preprocess, source.class_names, options.limit)
    expected = run_all(lambda images: float_logits(source, images), tests.images)
    right = expected.argmax(axis=1) == tests.labels
    print(f"{options.model}: {len(tests):,} test images, float Keras {100 * right.mean():.2f} %")
    with tempfile.TemporaryDirectory() as place:
        notes, candidates = {}, {}
        for row in rows():
            path = write_int8(source, row, sample, Path(place))
            with open_session(path) as session:
                logits = run_all(
                    lambda images, session=session: find_output(
                        session.run(images), "logits", session
                    ),
                    tests.images,
                )
            found = logits.argmax(axis=1) == tests.labels
            notes[row.name] = describe(found, right, logits, expected, path, row)
            print(f"{row.name:40} {notes[row.name]}", flush=True)
            candidates[row.name] = opened(path, tests.images[:1])
        print(f"measuring on {describe_environment()}", flush=True)
        samples = measure_interleaved(candidates, options.rounds)
    publish(samples, f"{BASE} alone", notes, options.json)


def rows() -> list[Row]:
    """The files of the table."""
    found = [Row("no surgery (float islands)", ()), Row(f"{BASE} alone", (BASE,))]
    found.append(Row(f"default ({', '.join(DEFAULT_STEPS)})", DEFAULT_STEPS))
    found += [Row(f"{name} alone", find_steps(f"{BASE},{name}")) for name in STEPS if name != BASE]
    found.append(Row("all", find_steps("all")))
    if len(DEFAULT_STEPS) > 2:
        found += [
            Row(f"default without {name}", find_steps(f"default,no-{name}"))
            for name in DEFAULT_STEPS
            if name != BASE
        ]
    kept: dict[tuple[str, ...], Row] = {}
    for row in found:  # where two rows are the same file, the first one says it
        kept.setdefault(row.steps, row)
    return list(kept.values())


def write_int8(source: Source, row: Row, sample, folder: Path) -> Path:
    """Calibrates and exports one row, without the audit: float islands shall be seen."""
    options = ExportOptions(surgery=row.steps)
    record = calibrate(Format.TFLITE, source, options, sample)
    content, _ = export_tflite(source, find_target("tflite-int8"), options, record)
    path = folder / f"{'-'.join(row.steps) or 'none'}.tflite"
    path.write_bytes(content)
    return path


def describe(found, right, logits, expected, path: Path, row: Row) -> dict:
    """Accuracy, and the paired comparison with float."""
    drop = PairedDrop.of(right, found)
    audit = inspect(path)
    same = float((logits.argmax(axis=1) == expected.argmax(axis=1)).mean())
    error = np.abs(logits - expected).mean() / expected.std()
    return {
        "steps": list(row.steps),
        "top1": round(100 * float(found.mean()), 3),
        "difference": round(100 * float(found.mean() - right.mean()), 3),
        "only_int8_right": drop.won,
        "only_float_right": drop.lost,
        "mcnemar_p": round(drop.p_value, 4),
        "same_top1": round(100 * same, 3),
        "mean_error_over_std": round(float(error), 5),
        "integer_only": audit.integer_only,
        "operators": sum(audit.ops.values()),
        "size_bytes": audit.size_bytes,
    }


def opened(path: Path, images: np.ndarray):
    """One inference, ready to be timed."""
    interpreter = open_interpreter(path)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    interpreter.set_tensor(entry["index"], images.astype(entry["dtype"]))
    return interpreter.invoke


if __name__ == "__main__":
    main()

"""What the benchmark scripts share: options, the table and the result file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["KERAS_BACKEND"] = "tensorflow"

from edgevit.base.documents import to_json
from edgevit.bench.environment import describe_environment
from edgevit.bench.measure import Samples


def parse_options(
    description: str, add: Callable[[argparse.ArgumentParser], None] | None = None
) -> argparse.Namespace:
    """--rounds and --json, and what ``add`` adds."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=200, help="samples for each candidate")
    parser.add_argument("--json", type=Path, help="where to write the raw samples")
    if add:
        add(parser)
    return parser.parse_args()


def publish(samples: Samples, reference: str, notes: dict, path: Path | None) -> None:
    """Prints medians, spreads and ratios; writes raw samples and environment if asked to."""
    environment = describe_environment()
    print(f"{environment}, one thread, batch 1")
    print(f"{'candidate':32} {'median ms':>10} {'MAD ms':>8} {'ratio':>7}   95 % interval")
    rows = {}
    for name in samples.latency_ns:
        ratio, low, high = samples.ratio(name, reference)
        median, spread = samples.median_ms(name), samples.spread_ms(name)
        rows[name] = {
            "median_ms": median,
            "mad_ms": spread,
            "ratio": ratio,
            "interval": [low, high],
        }
        print(f"{name:32} {median:10.3f} {spread:8.3f} {ratio:7.3f}   {low:.3f} .. {high:.3f}")
    for key, value in notes.items():
        print(f"{key}: {value}")
    if path:
        document = {
            "reference": reference,
            "summary": rows,
            "notes": notes,
            "environment": environment,
            "latency_ns": samples.latency_ns,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_json(document) + "\n")

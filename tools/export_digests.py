"""What every writer makes of the shipped networks, as digests: did a change move a byte?

Records the sha256 of what is lowered, before any metadata is embedded, for given networks x all
targets and, for the small ones, options that change what is written. Compares with a file that was
recorded earlier. Constants are folded by the processor's own kernels, so digests of one processor
say little about those of another: the file names its processor.

    python tools/export_digests.py now.json shiftvit:nano
    python tools/export_digests.py now.json shiftvit:nano --against tests/golden/export_digests.json
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # as the command line sets it

from edgevit.base.files import digest_path
from edgevit.base.loading import load_attribute
from edgevit.base.processor import describe_processor
from edgevit.core.target import Target
from edgevit.core.written import Written
from edgevit.formats.options import choose_options
from edgevit.formats.registry import TARGETS, find_targets
from edgevit.frontend.opening import open_source
from edgevit.frontend.source import Source
from edgevit.models import shipped_names

# Options that change what is written: label -> (targets, options). Of small networks only.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "batch=free": ("all", {"batch": None}),
    "batch=4": ("tflite-int8,tflite-mixed,onnx-int8,onnx-float32", {"batch": 4}),
    "io=float32": (
        "tflite-int8,tflite-int16x8,tflite-float32,onnx-int8",
        {"io_dtype": "float32"},
    ),
    "io=int8": ("tflite-int8", {"io_dtype": "int8"}),
    "opset=17": ("onnx-float32,onnx-int8,onnx-float16,onnx-dynamic", {"opset": 17}),
    "surgery=none": ("tflite-float32,tflite-dynamic-int4", {"surgery": ()}),
}
# Earlier keys of targets that were options: they come last, the second from a graph of its own,
# since names that TensorFlow gives depend on how often a process has traced.
RENAMED = {
    "tflite-int8 micro": "tflite-int8-micro",
    "onnx-float32 optimize=cpu": "onnx-float32-cpu",
}
RETRACED = "onnx-float32-cpu"


def list_cases(name: str) -> Iterator[tuple[str, Target, dict[str, Any]]]:
    """(key, target, options) of everything that is recorded of a network, in order."""
    rows = sorted(TARGETS.values(), key=lambda target: target.name in RENAMED.values())
    for target in rows:
        yield f"{name} {target.name}", target, {}
    for label, (names, chosen) in VARIANTS.items() if name.endswith(":nano") else ():
        for target in find_targets(names):
            if names != "all" or target.name not in RENAMED.values():
                yield f"{name} {target.name} {label}", target, chosen


def lower(source: Source, target: Target, chosen: dict[str, Any]) -> dict[str, Any]:
    """The digest of what a writer makes, with its steps; or why it refuses."""
    try:
        options = choose_options([target], chosen)[target.format]
        ranges = source.ranges.get(target.format) if target.needs_calibration else None
        with tempfile.TemporaryDirectory() as place:
            staged = Path(place) / "file"
            written: Written = load_attribute(target.write)(source, options, ranges, staged)
            content = written.finish({})
            digest = digest_path(staged) if content is None else hashlib.sha256(content).hexdigest()
        return {"sha256": digest, "steps": list(written.steps)}
    except Exception as error:  # a refusal is a result, too
        return {"error": f"{type(error).__name__}: {error}"}


def record(names: list[str], path: Path) -> dict[str, Any]:
    """Digests by key; the file is written after each, and what it holds already is kept."""
    found = read_digests(path) if path.exists() else {}
    for name in names:
        source = open_source(name)
        for key, target, chosen in list_cases(name):
            if key in found:
                continue
            if target.name == RETRACED:
                source.lowered.clear()
            started = time.perf_counter()
            found[key] = lower(source, target, chosen)
            said = found[key].get("sha256", found[key].get("error", ""))[:72]
            print(f"{key}: {said} ({time.perf_counter() - started:.1f} s)", flush=True)
            document = {"processor": describe_machine(), "digests": found}
            path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
        del source
        gc.collect()
    return found


def describe_machine() -> dict[str, Any]:
    """What the kernels that fold constants go by."""
    processor = describe_processor()
    return {"model": processor.model, "flags": sorted(processor.flags)}


def read_digests(path: Path) -> dict[str, Any]:
    """Digests by key out of a recorded file, keys as they are called now."""
    document = json.loads(path.read_text())
    found = {}
    for key, value in document.get("digests", document).items():
        for old, new in RENAMED.items():
            key = key.replace(f" {old}", f" {new}")
        found[key] = value
    return found


def compare(found: dict[str, Any], expected: dict[str, Any], keys: set[str]) -> list[str]:
    """A line for each key whose digest differs, or whose refusal is a digest elsewhere."""
    lines = []
    for key in sorted(keys & expected.keys()):
        mine, theirs = (rows[key].get("sha256", "refused") for rows in (found, expected))
        if mine != theirs:
            lines.append(f"{key}: {mine[:12]}, was {theirs[:12]}")
    return lines


def main() -> None:
    """Records, and compares if asked to; exit code 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, metavar="JSON")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="default: all that ship")
    parser.add_argument("--against", type=Path, metavar="JSON", help="recorded earlier")
    options = parser.parse_args()
    names = options.networks or shipped_names()
    found = record(names, options.out)
    if options.against:
        expected = read_digests(options.against)
        keys = {key for name in names for key, _, _ in list_cases(name)}
        lines = compare(found, expected, keys)
        for line in lines:
            print(line)
        print(f"{len(keys & expected.keys())} compared, {len(lines)} differ")
        for key in sorted(keys - expected.keys()):
            print(f"not in {options.against.name}: {key}")
        sys.exit(1 if lines else 0)


if __name__ == "__main__":
    main()

"""What every writer makes of the shipped networks, as digests: did a change move a byte?

Records the sha256 of what is lowered, before any metadata is embedded, for given networks x all
targets and, for the small ones, options that change what is written. Compares with a file that was
recorded earlier; exit code 1 where anything differs. Constants are folded by the processor's own
kernels, so the file names processor and tools: digests of others say little about these.

    python tools/export_digests.py now.json shiftvit:nano
    python tools/export_digests.py now.json shiftvit:nano --against tests/golden/export_digests.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # as the command line sets it

from edgevit.base.errors import EdgevitError
from edgevit.base.files import digest_path
from edgevit.base.loading import load_attribute
from edgevit.base.processor import describe_processor
from edgevit.base.versions import installed_version
from edgevit.core.target import Target, Written
from edgevit.formats.options import choose_options
from edgevit.formats.registry import TARGETS, find_targets
from edgevit.frontend.opening import open_source
from edgevit.frontend.source import Source
from edgevit.models.shipped import list_shipped

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
# Earlier keys of targets that were options. They come last, the second from a graph of its own, and
# each network has a process of its own: names that TensorFlow gives, and with them some bytes of a
# SavedModel and of graphs with a free batch, depend on what the process traced before.
RENAMED = {
    "tflite-int8 micro": "tflite-int8-micro",
    "onnx-float32 optimize=cpu": "onnx-float32-cpu",
}
RETRACED = "onnx-float32-cpu"
TOOLS = ("keras", "tensorflow", "tf2onnx", "onnx", "onnx-ir", "onnxscript", "numpy")
VECTORS = ("sse", "avx", "fma", "amx", "asimd", "sve")  # of a processor's flags


def list_cases(name: str, quick: bool = False) -> Iterator[tuple[str, Target, dict[str, Any]]]:
    """(key, target, options) of everything that is recorded of a network, in order.

    Args:
        name: of the network.
        quick: without the variants.
    """
    rows = sorted(TARGETS.values(), key=lambda target: target.name in RENAMED.values())
    for target in rows:
        yield f"{name} {target.name}", target, {}
    for label, (names, chosen) in VARIANTS.items() if name.endswith(":nano") and not quick else ():
        for target in find_targets(names):
            if names != "all" or not (target.fixed_batch or target.name in RENAMED.values()):
                yield f"{name} {target.name} {label}", target, chosen


def lower(source: Source, target: Target, chosen: dict[str, Any]) -> dict[str, Any]:
    """The digest of what a writer makes, with its steps; or why it refuses."""
    try:
        options = choose_options([target], chosen)[target.format]
        ranges = source.ranges.get(target.format) if target.needs_calibration else None
        with tempfile.TemporaryDirectory() as place:
            staged = Path(place) / "file"
            written: Written = load_attribute(target.write)(source, options, ranges, staged)
            written.finish({})
            digest = digest_path(staged)
        return {"sha256": digest, "steps": list(written.steps)}
    except EdgevitError as error:  # a refusal is a result, too
        return {"error": f"{type(error).__name__}: {error}"}


def record(name: str, quick: bool, path: Path) -> None:
    """Adds the digests of a network to a file, after each; those that it holds already are kept."""
    found = read_digests(path) if path.exists() else {}
    source = open_source(name)
    for key, target, chosen in list_cases(name, quick):
        if key in found:
            continue
        forget_traces(source)
        if target.name == RETRACED:
            source.lowered.clear()
        started = time.perf_counter()
        found[key] = lower(source, target, chosen)
        said = found[key].get("sha256", found[key].get("error", ""))[:72]
        print(f"{key}: {said} ({time.perf_counter() - started:.1f} s)", flush=True)
        document = {"recorded_with": describe_machine(), "digests": found}
        path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def forget_traces(source: Source) -> None:
    """Lets the next target trace the network itself, as all did when digests were recorded."""
    for key in [key for key in source.lowered if "traced" in key]:
        del source.lowered[key]


def describe_machine() -> dict[str, Any]:
    """What the bytes depend on beside the code: vector instructions, and versions of the tools."""
    flags = describe_processor().flags
    return {
        "vector_instructions": sorted(flag for flag in flags if flag.startswith(VECTORS)),
        "versions": {name: installed_version(name) for name in TOOLS},
    }


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
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, metavar="JSON")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="default: all that ship")
    parser.add_argument("--against", type=Path, metavar="JSON", help="recorded earlier")
    parser.add_argument("--quick", action="store_true", help="default options only")
    options = parser.parse_args()
    names = options.networks or list(list_shipped())
    if len(names) == 1:
        record(names[0], options.quick, options.out)
    else:
        more = ["--quick"] if options.quick else []
        for name in names:
            subprocess.run([sys.executable, __file__, options.out, name, *more], check=True)
    if options.against:
        keys = {key for name in names for key, _, _ in list_cases(name, options.quick)}
        sys.exit(report(read_digests(options.out), read_digests(options.against), keys))


def report(found: dict[str, Any], expected: dict[str, Any], keys: set[str]) -> int:
    """Prints what differs; 1 if anything does."""
    lines = compare(found, expected, keys)
    for line in lines:
        print(line)
    for key in sorted(keys - expected.keys()):
        print(f"{key}: was not recorded")
    print(f"{len(keys & expected.keys())} compared, {len(lines)} differ")
    return 1 if lines else 0


if __name__ == "__main__":
    main()

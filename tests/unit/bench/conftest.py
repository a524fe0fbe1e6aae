"""Files of one small matrix product each, and workers that are no real ones."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit.bench.products import write_product
from edgevit.core.target import Format, Precision


@pytest.fixture(scope="session")
def products(tmp_path_factory) -> dict[str, Path]:
    """Files by name: tflite, tflite-int8, onnx, onnx-int8; 8 x 16 times 16 x 32."""
    folder = tmp_path_factory.mktemp("products")
    found = {}
    for kind in (Format.TFLITE, Format.ONNX):
        for precision, suffix in ((Precision.FLOAT32, ""), (Precision.INT8, "-int8")):
            path = folder / f"product{suffix}.{kind}"
            write_product(path, kind, precision, rows=8, depth=16, width=32)
            found[f"{kind}{suffix}"] = path
    return found


# Serves as edgevit.bench.worker does, but misbehaves in one request.
SCRIPT = """
import json, os, signal, sys, time
misdeed, where = sys.argv[1], sys.argv[2]
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == where:
        if misdeed == "hang":
            time.sleep(600)
        elif misdeed == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif misdeed == "exit":
            print("the last words", file=sys.stderr, flush=True)
            sys.exit(7)
        elif misdeed == "babble":
            print("Hello!", flush=True)
            continue
    answers = {
        "open": {"batch": 1, "import_ns": 1, "load_ns": 2, "first_ns": 3, "idle_bytes": 4},
        "warm": {"calls": 5, "stable": True, "call_ns": 10_000_000},
        "run": {"latency_ns": [1000]},
        "memory": {"peak_bytes": 6},
    }
    print(json.dumps(answers[request["do"]]), flush=True)
"""


@pytest.fixture(scope="session")
def misbehaving() -> Callable[[str, str], list[str]]:
    """A function (misdeed, request) -> command of a worker that does it at that request.

    Misdeeds: "hang", "kill", "exit", "babble", and "" for none.
    """
    return lambda misdeed, where: [sys.executable, "-c", textwrap.dedent(SCRIPT), misdeed, where]

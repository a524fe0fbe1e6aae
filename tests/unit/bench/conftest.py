"""Files of one small matrix product each, and workers that are no real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit.bench.products import write_product
from edgevit.core.format import Format
from edgevit.core.target import Precision
from programs import command_of


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


@pytest.fixture(scope="session")
def misbehaving() -> Callable[[str, str], list[str]]:
    """A function (misdeed, request) -> command of a worker that does it at that request.

    Misdeeds: "hang", "kill", "exit", "babble", and "" for none.
    """
    return lambda misdeed, where: command_of("misbehave", misdeed, where)

"""A right float32 file of a network that blows roundings up passes, and a wrong one does not."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("ai_edge_litert")
pytest.importorskip("tf2onnx")

import edgevit  # noqa: E402
from edgevit.core.parity import Verdict, allow_rounding  # noqa: E402
from edgevit.formats.registry import open_session, read_metadata  # noqa: E402
from edgevit.frontend.opening import open_source  # noqa: E402
from edgevit.frontend.record_reference import record_reference  # noqa: E402
from edgevit.frontend.record_rounding import find_roundings  # noqa: E402
from edgevit.verification.parity import compare  # noqa: E402

DEPTH, WIDTH = 26, 24


def chaotic(fault: float = 0.0) -> keras.Model:
    """Each layer nearly doubles a small difference, so one in the last place becomes 1e-3."""
    keras.utils.set_random_seed(3)
    given = keras.Input((WIDTH,), name="state")
    x, layers = given, keras.layers
    large = keras.initializers.RandomNormal(stddev=3 / np.sqrt(WIDTH))
    for _ in range(DEPTH):
        x = layers.Dense(WIDTH, activation="tanh", kernel_initializer=large)(x)
    model = keras.Model(given, layers.Dense(3, name="force")(x), name="chaotic")
    first = model.layers[1]
    kernel = np.array(first.kernel)
    kernel[0, 0] *= 1 + fault
    first.kernel.assign(kernel)
    return model


def test_it_passes_and_says_why(command, tmp_path):
    for outcome in edgevit.export_all(chaotic(), "tflite-float32,onnx-float32", tmp_path):
        output = outcome.reports[0].outputs[0]
        assert output.relative > outcome.target.tolerance.limit(output.role).relative
        assert str(outcome.verdict) == "pass"
        path = outcome.artifact.path
        rounding = read_metadata(path).manifest.roundings["force"]
        assert rounding.relative > 1e-4
        found = command("verify", path)
        assert found.code == 0
        assert "float32 rounding alone moves 'force' of this network" in " ".join(found.out.split())
        document = command("verify", path, "--json").document
        assert document["runs"][0]["outputs"][0]["rounding"] == asdict(rounding)


def test_one_weight_that_is_off_by_a_thousandth_is_found(tmp_path):
    """What blows roundings up blows faults up too."""
    (outcome,) = edgevit.export_all(chaotic(fault=1e-3), "onnx-float32", tmp_path)
    source = open_source(chaotic(), task="regression")
    reference, tolerance = record_reference(source), outcome.target.tolerance
    roundings = find_roundings(source, reference, tolerance)
    with open_session(outcome.artifact.path, "onnxruntime") as session:
        (report,) = allow_rounding([compare(session, reference)], roundings)
    assert report.outputs[0].rounding is not None
    assert report.verdict(tolerance) is Verdict.FAIL

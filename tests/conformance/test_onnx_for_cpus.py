"""onnx-float32-cpu: the same outputs from fewer multiplications."""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import onnx
import pytest

from edgevit.base.errors import ConfigError
from edgevit.core.parity import Verdict
from edgevit.verbs.export import export_all

SIZE = 10


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A wide and a narrow 3 x 3 convolution."""
    keras.utils.set_random_seed(4)
    images = keras.Input((SIZE, SIZE, 3), name="images")
    x = keras.layers.Conv2D(128, 1, activation="relu", name="widen")(images)
    x = keras.layers.Conv2D(128, 3, padding="same", activation="relu", name="wide")(x)
    x = keras.layers.Conv2D(32, 3, padding="same", activation="relu", name="narrow")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(5, name="classifier")(x), name="net")


def kernels(path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("batch", [1, None])
def test_the_file_agrees_and_is_larger(network, tmp_path, batch):
    outcomes = export_all(network, "onnx-float32,onnx-float32-cpu", tmp_path, batch=batch)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.PASS] * 2
    plain, ours = (outcome.artifact for outcome in outcomes)
    assert kernels(plain.path)["Conv"] - kernels(ours.path)["Conv"] == 1
    assert kernels(ours.path)["MatMul"] >= 18
    assert "winograd_convolution: 1" in ours.manifest.steps
    assert ours.manifest.target == "onnx-float32-cpu"
    grown = ours.size_bytes - plain.size_bytes
    assert 128 * 128 * 7 * 4 <= grown <= 128 * 128 * 7 * 4 + 20_000
    assert all(
        node.name.startswith("net/") or "/" in node.name for node in onnx.load(ours.path).graph.node
    )


def test_other_targets_of_the_same_call_stay_as_they_are(network, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE, 3), dtype=np.uint8)
    files = []
    for names in ("onnx-int8", "onnx-float32-cpu,onnx-int8"):
        outcomes = export_all(network, names, tmp_path / names, calibration=images)
        assert {outcome.verdict for outcome in outcomes} == {Verdict.PASS}
        files.append(kernels(outcomes[-1].artifact.path))
    assert files[0] == files[1]


def test_the_option_that_it_was_is_answered_with_the_target(network, command, tmp_path):
    for typed in (("--optimize", "cpu"), ("--optimize=cpu",)):
        answer = command("export", "shiftvit", "--format", "tflite-int8", *typed)
        assert answer.code == 2
        assert "--format onnx-float32-cpu" in answer.error
    with pytest.raises(ConfigError, match="ask for onnx-float32-cpu"):
        export_all(network, "onnx-float32", tmp_path / "out", optimize="cpu")
    assert not (tmp_path / "out").exists()

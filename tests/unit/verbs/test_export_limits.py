"""A network that no file can hold is refused before minutes are spent on it."""

from __future__ import annotations

import keras
import pytest

import edgevit
from edgevit.base.errors import ExportError
from edgevit.frontend import record_reference
from edgevit.verbs import export


@pytest.mark.parametrize("target", ["tflite-float32", "tflite-int8", "onnx-float32"])
def test_too_many_weights_are_refused_at_once(monkeypatch, tmp_path, target):
    images = keras.Input((8, 8, 3), name="images")
    outputs = keras.layers.Dense(3)(keras.layers.Flatten()(images))
    network = keras.Model(images, outputs, name="huge")
    monkeypatch.setattr(export, "WRITTEN_BYTES", 4 * network.count_params() - 1)
    monkeypatch.setattr(record_reference, "record_reference", lambda *a, **k: pytest.fail("ran"))
    with pytest.raises(ExportError, match=r"huge: its weights take .* Export to savedmodel"):
        edgevit.export(network, target, tmp_path)
    assert [*tmp_path.iterdir()] == []

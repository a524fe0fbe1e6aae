"""A model that LiteRT has no operators for is refused in one line that names them."""

from __future__ import annotations

import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("ai_edge_litert")

from edgevit.base.errors import ExportError  # noqa: E402
from edgevit.formats.tflite.writer.refusal import LONGEST, describe_refusal  # noqa: E402
from edgevit.verbs.export import export  # noqa: E402

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="graphs are traced by TensorFlow"
)


def test_the_operator_and_its_layer_are_named_without_paths(tmp_path):
    wave = keras.Input((8,), name="wave")
    x = keras.layers.Rescaling(0.9)(keras.layers.Activation("tanh")(wave))
    x = keras.layers.Activation(keras.ops.erfinv, name="shrink")(x)
    model = keras.Model(wave, keras.layers.Dense(3)(x), name="waves")
    with pytest.raises(ExportError) as caught:
        export(model, "tflite-float32", tmp_path)
    line = str(caught.value)
    assert line.startswith("waves: LiteRT has no operator for Erfinv")
    assert "shrink" in line
    assert "onnx-float32" in line
    assert "loc(" not in line
    assert len(line) < 300
    assert not [*tmp_path.iterdir()]


def test_another_complaint_is_cut_to_a_line():
    line = describe_refusal("net", ValueError("something\nelse " * 100), {})
    assert line.startswith("net: TensorFlow's converter refuses it without Flex ops (something")
    assert "\n" not in line
    assert len(line) < LONGEST + 100

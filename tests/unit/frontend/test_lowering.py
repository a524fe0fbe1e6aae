"""Other ways of writing a layer down are equal to Keras' own, and do not outlive the trace."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from keras.src.backend import nn  # noqa: E402
from keras.src.backend import numpy as backend  # noqa: E402

from edgevit.core.format import Format  # noqa: E402
from edgevit.formats.onnx.writer import float_graph  # noqa: E402
from edgevit.formats.tflite.writer import convert  # noqa: E402
from edgevit.frontend.lowering import (  # noqa: E402
    KERAS,
    Lowering,
    applied,
    gelu_textbook,
    layer_norm_centred,
    layer_norm_textbook,
    matmul_rows,
)

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="lowerings are traced by TensorFlow"
)

LOWERINGS = {
    Format.SAVEDMODEL: KERAS,
    Format.TFLITE: convert.LOWERING,
    Format.ONNX: float_graph.LOWERING,
}
FORMS = [layer_norm_centred, layer_norm_textbook]
LAYERS = [
    {},
    {"axis": 1},
    {"axis": [1, 2]},
    {"axis": [2, 3]},
    {"axis": [-1, -3]},
    {"scale": False},
    {"center": False},
    {"scale": False, "center": False},
    {"axis": [1, 2, 3], "epsilon": 0.1},
]


def built_layer(options: dict, shape: tuple[int, ...]) -> keras.layers.LayerNormalization:
    """A layer whose gamma and beta are not the 1 and 0 that they start with."""
    layer = keras.layers.LayerNormalization(**options)
    layer.build(shape)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    return layer


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", LAYERS, ids=str)
def test_a_layer_norm_form_equals_keras_own(form, options):
    x = np.random.default_rng(0).normal(2.0, 3.0, (2, 5, 6, 7)).astype(np.float32)
    layer = built_layer(options, x.shape)
    own = keras.ops.convert_to_numpy(layer(x))
    with applied(Lowering(form, None, None, ())):
        lowered = keras.ops.convert_to_numpy(layer(x))
    assert lowered.shape == own.shape
    assert lowered.dtype == own.dtype
    np.testing.assert_allclose(lowered, own, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_form_is_really_used_while_the_context_lasts(form):
    calls = []

    def counted(layer, x):
        calls.append(layer.name)
        return form(layer, x)

    layer = built_layer({}, (2, 4))
    x = np.ones((2, 4), np.float32)
    with applied(Lowering(counted, None, None, ())):
        layer(x)
    layer(x)
    assert calls == [layer.name]


def test_a_layer_norm_in_half_precision_keeps_its_type():
    layer = keras.layers.LayerNormalization(dtype="float16")
    x = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float16)
    own = keras.ops.convert_to_numpy(layer(x))
    with applied(LOWERINGS[Format.TFLITE]):
        lowered = keras.ops.convert_to_numpy(layer(x))
    assert lowered.dtype == own.dtype == np.float16
    np.testing.assert_allclose(lowered, own, atol=1e-2)


def test_a_layer_that_scales_by_the_root_mean_square_only_keeps_its_own_form():
    layer = keras.layers.RMSNormalization()
    x = np.random.default_rng(0).normal(3.0, 1.0, (3, 8)).astype(np.float32)
    own = keras.ops.convert_to_numpy(layer(x))
    with applied(LOWERINGS[Format.TFLITE]):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x)), own)


@pytest.mark.parametrize("approximate", [False, True])
def test_the_gelu_form_equals_keras_own(approximate):
    x = np.linspace(-6, 6, 1001).astype(np.float32)
    own = keras.ops.convert_to_numpy(nn.gelu(x, approximate=approximate))
    lowered = keras.ops.convert_to_numpy(gelu_textbook(x, approximate))
    np.testing.assert_allclose(lowered, own, atol=1e-5)


@pytest.mark.parametrize("approximate", [False, True])
def test_an_activation_layer_uses_the_gelu_form_inside_the_context(approximate):
    x = np.linspace(-6, 6, 101).astype(np.float32)
    own = keras.ops.convert_to_numpy(keras.ops.gelu(x, approximate=approximate))
    seen = []

    def noted(value, flag):
        seen.append(flag)
        return gelu_textbook(value, flag)

    with applied(Lowering(None, noted, None, ())):
        lowered = keras.ops.convert_to_numpy(keras.ops.gelu(x, approximate=approximate))
        keras.activations.gelu(keras.ops.convert_to_tensor(x), approximate=approximate)
    assert seen == [approximate, approximate]
    np.testing.assert_allclose(lowered, own, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 4), (2, 3, 5, 4)], ids=str)
def test_a_product_on_rows_equals_keras_own(shape):
    rng = np.random.default_rng(0)
    x, matrix = rng.normal(size=shape), rng.normal(size=(4, 6))
    seen = []

    def own(a, b):
        seen.append(a.shape)
        return backend.matmul(a, b)

    found = keras.ops.convert_to_numpy(matmul_rows(x, matrix, own))
    np.testing.assert_allclose(found, x @ matrix, rtol=1e-6)
    assert [len(rows) for rows in seen] == [2]


@pytest.mark.parametrize("kind", Format)
def test_nothing_of_a_lowering_is_left_after_the_context(kind):
    own_call, own_gelu = keras.layers.LayerNormalization.call, nn.gelu
    own_matmul = backend.matmul
    with applied(LOWERINGS[kind]):
        inside = keras.layers.LayerNormalization.call, nn.gelu
    assert (inside[0] is not own_call) == (LOWERINGS[kind].layer_norm is not None)
    assert (inside[1] is not own_gelu) == (LOWERINGS[kind].gelu is not None)
    assert keras.layers.LayerNormalization.call is own_call
    assert nn.gelu is own_gelu
    assert backend.matmul is own_matmul


@pytest.mark.parametrize("kind", Format)
def test_nothing_of_a_lowering_is_left_after_an_error(kind):
    own_call, own_gelu = keras.layers.LayerNormalization.call, nn.gelu
    own_matmul = backend.matmul
    with pytest.raises(RuntimeError, match="in the middle"), applied(LOWERINGS[kind]):
        raise RuntimeError("in the middle")
    assert keras.layers.LayerNormalization.call is own_call
    assert nn.gelu is own_gelu
    assert backend.matmul is own_matmul


@pytest.mark.parametrize("kind", [Format.TFLITE, Format.ONNX])
def test_every_change_is_told_in_the_steps_of_the_manifest(kind):
    lowering = LOWERINGS[kind]
    assert len(lowering.steps) == sum(
        form is not None for form in (lowering.layer_norm, lowering.gelu)
    )


@pytest.mark.parametrize("interpolation", ["bicubic", "lanczos3", "bilinear"])
@pytest.mark.parametrize("size", [(5, 12), (9, 4)])
def test_a_resize_by_products_is_tensorflows(interpolation, size):
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 7, 3)).astype(np.float32)
    options = {"interpolation": interpolation, "antialias": interpolation == "bilinear"}
    own = keras.ops.convert_to_numpy(keras.ops.image.resize(images, size, **options))
    with applied(LOWERINGS[Format.TFLITE]):
        found = keras.ops.convert_to_numpy(keras.ops.image.resize(images, size, **options))
    np.testing.assert_allclose(found, own, atol=1e-3)


AUGMENTING = {
    "hue": lambda: keras.layers.RandomHue(0.2),
    "saturation": lambda: keras.layers.RandomSaturation(0.3),
    "grayscale": lambda: keras.layers.RandomGrayscale(0.5),
    "posterization": lambda: keras.layers.RandomPosterization(4),
    "sharpness": lambda: keras.layers.RandomSharpness(0.5),
    "jitter": lambda: keras.layers.RandomColorJitter(value_range=(0, 255), brightness_factor=0.2),
    "mixup": lambda: keras.layers.MixUp(),
}


@pytest.mark.parametrize("kind", AUGMENTING)
def test_a_layer_that_augments_is_traced_without_its_generator(kind):
    import tensorflow as tf

    layer = AUGMENTING[kind]()
    traced = tf.function(lambda images: layer(images, training=False), autograph=False)
    spec = tf.TensorSpec((2, 8, 8, 3), "float32")
    with applied(KERAS):
        function = traced.get_concrete_function(spec)
    assert not function.variables
    images = np.random.default_rng(0).uniform(0, 255, spec.shape).astype("float32")
    np.testing.assert_array_equal(function(tf.constant(images)), images)

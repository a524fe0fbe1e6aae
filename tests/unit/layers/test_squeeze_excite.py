"""SqueezeExcite against the paper's equations (arXiv:1709.01507) in numpy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgevit.layers.squeeze_excite import SqueezeExcite
from reference.layers import gelu, squeeze_excite

ACTIVATIONS = {"relu": lambda x: np.maximum(x, 0), "gelu": gelu}


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gates_equal_the_papers_equations(activation, use_bias):
    rng = np.random.default_rng(3)
    images = rng.normal(2, 1, size=(3, 4, 5, 12)).astype(np.float32)
    layer = SqueezeExcite(3, activation, use_bias)
    layer.build(images.shape)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    result = keras.ops.convert_to_numpy(layer(images))
    weights = [weight.astype(np.float64) for weight in layer.get_weights()]
    expected = squeeze_excite(images.astype(np.float64), weights, ACTIVATIONS[activation])
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_weights_are_the_reduction_then_the_expansion():
    layer = SqueezeExcite(4, use_bias=True)
    layer.build((None, 7, 7, 18))
    shapes = {weight.path.split("/", 1)[1]: tuple(weight.shape) for weight in layer.weights}
    assert list(shapes.items()) == [
        ("reduce/kernel", (18, 4)),
        ("reduce/bias", (4,)),
        ("expand/kernel", (4, 18)),
        ("expand/bias", (18,)),
    ]


def test_layer_survives_its_own_config():
    layer = SqueezeExcite(5, "gelu", True, name="gate")
    copy = SqueezeExcite.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert (copy.reduction, copy.activation, copy.use_bias) == (5, "gelu", True)
    assert copy.compute_output_shape((None, 3, 4, 10)) == (None, 3, 4, 10)


def test_too_few_channels_are_refused():
    with pytest.raises(ValueError, match="Received: channels=3"):
        SqueezeExcite(4).build((None, 7, 7, 3))


def test_reduction_below_one_is_refused():
    with pytest.raises(ValueError, match="Received: reduction=0"):
        SqueezeExcite(0)

"""FusedMBConv against equation 1 of the GCViT paper (arXiv:2206.09959) in numpy."""

from __future__ import annotations

import math

import keras
import numpy as np

from edgevit.layers.fused_mbconv import FusedMBConv


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def test_block_equals_the_papers_equation():
    rng = np.random.default_rng(2)
    images = rng.normal(size=(2, 5, 4, 8)).astype(np.float32)
    layer = FusedMBConv()
    layer.build(images.shape)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    depthwise, reduce, expand, project = (w.astype(np.float64) for w in layer.get_weights())

    padded = np.pad(images.astype(np.float64), [(0, 0), (1, 1), (1, 1), (0, 0)])
    x = np.zeros(images.shape)
    for down, right in np.ndindex(3, 3):
        x += padded[:, down : down + 5, right : right + 4] * depthwise[down, right, :, 0]
    x = gelu(x)
    gate = 1 / (1 + np.exp(-gelu(x.mean(axis=(1, 2)) @ reduce) @ expand))
    expected = images + (x * gate[:, None, None, :]) @ project[0, 0]

    result = keras.ops.convert_to_numpy(layer(images))
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_weights_are_four_kernels_without_biases():
    layer = FusedMBConv()
    layer.build((None, 7, 7, 12))
    found = [(weight.path.split("/", 1)[1], tuple(weight.shape)) for weight in layer.weights]
    assert found == [
        ("depthwise/kernel", (3, 3, 12, 1)),
        ("excite/reduce/kernel", (12, 3)),
        ("excite/expand/kernel", (3, 12)),
        ("project/kernel", (1, 1, 12, 12)),
    ]
    assert layer.compute_output_shape((None, 7, 7, 12)) == (None, 7, 7, 12)

"""Operations over volumes as operations over frames compute what Keras computes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from keras.src.backend import nn

from edgevit.frontend.volumes import (
    adaptive_pool,
    conv_of_frames,
    conv_transpose_of_frames,
    pool_of_frames,
)

RNG = np.random.default_rng(0)
VOLUME = RNG.normal(size=(2, 5, 6, 7, 3)).astype(np.float32)  # B T H W C


def forbidden(*arguments, **options):
    raise AssertionError("computed in three dimensions")


def flat_alone(own):
    """Keras' own function, which refuses volumes."""
    return lambda x, *rest: forbidden() if len(x.shape) == 5 else own(x, *rest)


def agree(found, wanted):
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("size", "strides", "dilation"),
    [(3, 1, 1), (2, (2, 1, 2), 1), ((3, 1, 2), (2, 2, 1), 1), (2, 1, (3, 2, 1)), (1, 2, 1)],
)
def test_a_convolution(size, strides, dilation, padding):
    sizes = (size,) * 3 if isinstance(size, int) else size
    kernel = RNG.normal(size=(*sizes, 3, 4)).astype(np.float32)
    arguments = (VOLUME, kernel, strides, padding, None, dilation)
    agree(conv_of_frames(flat_alone(nn.conv))(*arguments), nn.conv(*arguments))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "strides"), [(2, 2), (3, 2), (3, 1), ((1, 3, 2), (2, 1, 2))])
def test_a_transposed_convolution(size, strides, padding):
    sizes = (size,) * 3 if isinstance(size, int) else size
    kernel = RNG.normal(size=(*sizes, 4, 3)).astype(np.float32)
    arguments = (VOLUME, kernel, strides, padding)
    found = conv_transpose_of_frames(flat_alone(nn.conv_transpose))(*arguments)
    agree(found, nn.conv_transpose(*arguments))


@pytest.mark.parametrize("pool", [nn.max_pool, nn.average_pool])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("size", "strides"), [((2, 2, 2), None), ((3, 3, 3), (2, 2, 2)), ((1, 2, 2), None),
                          ((2, 1, 1), None)]
)  # fmt: skip
def test_a_pooling(pool, size, strides, padding):
    arguments = (VOLUME, size, strides, padding)
    agree(pool_of_frames(flat_alone(pool))(*arguments), pool(*arguments))


@pytest.mark.parametrize("name", ["average_pool", "max_pool"])
@pytest.mark.parametrize(
    ("shape", "size"),
    [((16, 3), 4), ((16, 3), 5), ((8, 6, 3), (4, 3)), ((8, 6, 3), (3, 4)), ((7, 6, 3), (7, 4)),
     ((4, 6, 5, 3), (2, 4, 5))],
)  # fmt: skip
def test_a_pooling_to_a_given_size(name, shape, size):
    x = tf.constant(RNG.normal(size=(2, *shape)), tf.float32)
    sizes = (size,) if isinstance(size, int) else size
    own = getattr(nn, f"adaptive_{name}")
    agree(adaptive_pool(name)(forbidden)(x, sizes), own(x, sizes, "channels_last"))

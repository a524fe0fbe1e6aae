"""Layers in numpy float64, from their papers: what the architectures are compared with."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import keras
import numpy as np
import pytest


def layer_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    return centred / deviation * gamma + beta


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def windows(x: np.ndarray, side: int, stride: int) -> np.ndarray:
    """B H W C -> B h w side side C, padded with zeros as Keras' "same" does."""
    _, rows, columns, _ = x.shape
    tall, wide = math.ceil(rows / stride), math.ceil(columns / stride)
    more = [max((n - 1) * stride + side - old, 0) for n, old in ((tall, rows), (wide, columns))]
    around = [(0, 0), *((extra // 2, extra - extra // 2) for extra in more), (0, 0)]
    padded = np.pad(x, around)
    cut = [
        [
            padded[:, top * stride : top * stride + side, left * stride : left * stride + side]
            for left in range(wide)
        ]
        for top in range(tall)
    ]
    return np.moveaxis(np.array(cut), 2, 0)  # B h w side side C


def conv(x: np.ndarray, kernel: np.ndarray, stride: int = 1) -> np.ndarray:
    """Kernel side side C F, "same" padding. B H W C -> B h w F."""
    return np.tensordot(windows(x, kernel.shape[0], stride), kernel, axes=3)


def depthwise(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """One kernel side side a channel, "same" padding. B H W C -> B H W C."""
    side = kernel.shape[0]
    return (windows(x, side, 1) * kernel.reshape(side, side, -1)).sum(axis=(3, 4))


def attend(queries: np.ndarray, tokens: np.ndarray, weights: list[np.ndarray]):
    """Heads one by one; eight weights as keras.layers.MultiHeadAttention has them."""
    q, q_bias, k, k_bias, v, v_bias, out, out_bias = weights
    result, attentions = out_bias, []
    for head in range(q.shape[1]):
        query = queries @ q[:, head] + q_bias[head]  # B Q D
        key = tokens @ k[:, head] + k_bias[head]  # B N D
        value = tokens @ v[:, head] + v_bias[head]  # B N D
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(q.shape[2])
        attentions.append(softmax(scores))  # B Q N
        result = result + attentions[-1] @ value @ out[head]  # B Q C
    return result, np.stack(attentions, axis=1)  # B Q C, B K Q N


@pytest.fixture(scope="session")
def in_numpy() -> SimpleNamespace:
    """Layers in numpy by name, such as ``in_numpy.layer_norm(x, gamma, beta, epsilon)``."""
    parts = (layer_norm, gelu, gelu_tanh, softmax, conv, depthwise, attend)
    return SimpleNamespace(**{part.__name__: part for part in parts})


def _randomise(model: keras.Model, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = []
    for weight in model.get_weights():
        fan_in = max(1, math.prod(weight.shape[:-1])) if weight.ndim > 1 else 1
        weights.append(rng.normal(0, 1 / math.sqrt(fan_in), weight.shape).astype(np.float32))
    model.set_weights(weights)
    return [weight.astype(np.float64) for weight in weights]


@pytest.fixture(scope="session")
def randomise() -> Callable[..., list[np.ndarray]]:
    """A function (model, seed=0) that gives every weight a value of its own; returns them."""
    return _randomise


def _shapes(model: keras.Model) -> dict[str, tuple[int | None, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model(model.inputs[0]).items()}


@pytest.fixture(scope="session")
def output_shapes() -> Callable[[keras.Model], dict[str, tuple[int | None, ...]]]:
    """A function (model) -> the shape of each named output."""
    return _shapes


def _assert_close(result, expected: np.ndarray) -> None:
    result = keras.ops.convert_to_numpy(result)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.fixture(scope="session")
def assert_close() -> Callable[[object, np.ndarray], None]:
    """A function (result, expected): within 1e-5; the tanh form of GELU is off by 3e-5 or more."""
    return _assert_close


def _find_unreached(model: keras.Model, images: np.ndarray) -> list[str]:
    classes = _shapes(model)["logits"][-1]
    model.compile(
        keras.optimizers.SGD(1.0),
        {"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
        run_eagerly=True,  # one step: tracing would take longer
    )
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    model.train_on_batch(images, {"logits": np.arange(len(images)) % classes})
    return [
        weight.path
        for weight, old in zip(model.trainable_weights, before, strict=True)
        if np.array_equal(keras.ops.convert_to_numpy(weight), old)
    ]


@pytest.fixture(scope="session")
def find_unreached() -> Callable[[keras.Model, np.ndarray], list[str]]:
    """A function (model, images) -> paths of trainable weights that a training step leaves."""
    return _find_unreached

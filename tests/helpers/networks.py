"""Networks with weights that nobody trained, and how their outputs are compared."""

from __future__ import annotations

import math

import keras
import numpy as np


def randomise(model: keras.Model, seed: int = 0) -> list[np.ndarray]:
    """Gives every weight a value of its own, none of them zero or one; returns them in float64."""
    rng = np.random.default_rng(seed)
    weights = []
    for variable in model.weights:
        shape = tuple(variable.shape)
        # The position bias must matter as much as the scores that it is added to.
        kernel = len(shape) > 1 and not variable.path.endswith("bias_table")
        value = rng.normal(0, 1 / math.sqrt(math.prod(shape[:-1]) if kernel else 1), shape)
        if variable.path.endswith("moving_variance"):
            value = rng.uniform(0.5, 2, shape)
        weights.append(value.astype(np.float32))
    model.set_weights(weights)
    return [weight.astype(np.float64) for weight in weights]


def by_path(model: keras.Model, weights: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Weights in the model's order by the paths of its variables."""
    return {variable.path: value for variable, value in zip(model.weights, weights, strict=True)}


def output_shapes(model: keras.Model) -> dict[str, tuple[int | None, ...]]:
    """The shape of each named output."""
    return {name: tuple(tensor.shape) for name, tensor in model(model.inputs[0]).items()}


def outputs_of(model: keras.Model, images: np.ndarray, training=False) -> dict[str, np.ndarray]:
    """The named outputs as arrays."""
    result = model(images, training=training)
    return {name: keras.ops.convert_to_numpy(value) for name, value in result.items()}


def assert_random_in_training_only(model: keras.Model, images: np.ndarray) -> None:
    """The same logits each time, but other ones in training, where paths and values are dropped."""
    still, trained = (
        [outputs_of(model, images, training=mode)["logits"] for _ in "ab"] for mode in (False, True)
    )
    np.testing.assert_array_equal(*still)
    assert not np.allclose(*trained)


def assert_close(result: object, expected: np.ndarray) -> None:
    """Within 1e-5: float32 is off by about 2e-7, the tanh form of GELU by 3e-5 or more."""
    result = keras.ops.convert_to_numpy(result)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def find_unreached(model: keras.Model, images: np.ndarray) -> list[str]:
    """Paths of trainable weights that a training step leaves as they are."""
    classes = output_shapes(model)["logits"][-1]
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

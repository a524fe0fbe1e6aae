"""The float network as one function, for many batches of the same size."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edgevit.frontend.source import Source

FIRST = 2  # samples on which the compiled network is held against Keras' own run
CLOSE = 1e-3  # of the largest output, between the two

Call = Callable[[Sequence[Any]], Mapping[str, Any]]


def compile_network(source: Source, chunk: Mapping[str, np.ndarray]) -> Call | None:
    """Compiles the network layer by layer as it is, with nothing rewritten.

    TensorFlow's graph rewriter stays off, so each operation computes the same bits as it does
    alone. A network whose layers behave otherwise inside a function than outside, as they may by
    their own Python code, is not compiled: exporters trace a function too, and the reference must
    show what they get wrong.

    Args:
        source: the model.
        chunk: B ... by name, as a caller hands them over; B at least two.

    Returns:
        Takes the place of ``source.call`` for batches of B; None where Keras runs on another
        backend than TensorFlow, or for a network that cannot be compiled.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    entering = [tf.convert_to_tensor(values) for values in source.prepare(chunk)]
    function = tf.function(
        lambda *tensors: dict(source.call(tensors)),
        input_signature=[tf.TensorSpec(values.shape, values.dtype) for values in entering],
        autograph=False,
    )

    def call(entering: Sequence[Any]) -> Mapping[str, Any]:
        with _as_written():
            outputs: Mapping[str, Any] = function(*map(tf.convert_to_tensor, entering))
            return outputs

    try:
        found = {name: values[:FIRST] for name, values in call(entering).items()}
    except Exception:  # whatever a user's layer raises while it is traced
        return None
    expected = source.call([values[:FIRST] for values in entering])
    return call if are_close(found, expected, CLOSE) else None


def are_close(found: Mapping[str, Any], expected: Mapping[str, Any], limit: float) -> bool:
    """Whether outputs are the same up to rounding, with NaN and infinity in the same places.

    Args:
        found: B ... by name.
        expected: B ... by name.
        limit: of the difference, as a share of the largest expected value of each output.
    """
    from keras.ops import convert_to_numpy

    pairs = [
        (convert_to_numpy(found[name]), convert_to_numpy(values))
        for name, values in expected.items()
    ]
    return all(
        np.allclose(one, other, rtol=0, atol=limit * _largest(other), equal_nan=True)
        for one, other in pairs
    )


def _largest(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0))


@contextlib.contextmanager
def _as_written() -> Iterator[None]:
    """While the context lasts, TensorFlow runs graphs as they were traced."""
    import tensorflow as tf

    name = "disable_meta_optimizer"
    before = tf.config.optimizer.get_experimental_options().get(name, False)
    tf.config.optimizer.set_experimental_options({name: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({name: before})

"""In which precision a network multiplies while it trains, or teaches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

# Keras' dtype policy by what is typed. Weights, norms and the loss stay float32 in both.
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


@contextmanager
def policy_of(precision: str) -> Iterator[None]:
    """Layers that are made inside have this precision.

    Args:
        precision: of the products, a key of PRECISIONS.
    """
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(PRECISIONS[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(usual)

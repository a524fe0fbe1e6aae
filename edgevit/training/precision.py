"""In which precision a network multiplies while it trains, or teaches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from edgevit.base.processor import describe_processor

# Keras' dtype policy by what is typed. Weights, norms and the loss stay float32 in both.
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
# Any of these multiplies in bfloat16: x86 (AVX-512 BF16, AMX) and Arm (FEAT_BF16).
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@contextmanager
def policy_of(precision: str) -> Iterator[None]:
    """Layers that are made inside have this precision, a key of PRECISIONS."""
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(PRECISIONS[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(usual)


def is_emulated(precision: str) -> bool:
    """Whether the machine has no products of this precision, so that they cost more than float32's.

    False where that is not known: a system that does not tell a processor's instruction sets, or a
    backend with an accelerator.
    """
    flags = describe_processor().flags
    return (
        precision == "bfloat16"
        and bool(flags)
        and not flags & BFLOAT16_FLAGS
        and not _has_accelerator()
    )


def _has_accelerator() -> bool:
    """Whether Keras' backend computes on anything but the processor."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        return bool(torch.accelerator.is_available())
    if backend == "jax":
        import jax

        return bool(jax.default_backend() != "cpu")
    return bool(keras.distribution.list_devices("gpu"))

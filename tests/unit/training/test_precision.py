"""Which precision a machine multiplies in."""

from __future__ import annotations

import pytest

from edgevit.base.processor import Processor
from edgevit.training import precision
from edgevit.training.precision import is_emulated


@pytest.mark.parametrize(
    ("flags", "asked", "accelerator", "emulated"),
    [
        ("avx2 fma", "bfloat16", False, True),
        ("avx2 fma", "float32", False, False),
        ("avx2 fma", "bfloat16", True, False),
        ("avx2 avx512_bf16", "bfloat16", False, False),
        ("avx2 amx_bf16", "bfloat16", False, False),
        ("asimd bf16", "bfloat16", False, False),
        ("", "bfloat16", False, False),  # a system that does not say
    ],
)
def test_bfloat16_is_emulated_where_nothing_multiplies_in_it(
    monkeypatch, flags, asked, accelerator, emulated
):
    described = Processor("drawn", frozenset(flags.split()))
    monkeypatch.setattr(precision, "describe_processor", lambda: described)
    monkeypatch.setattr(precision, "_has_accelerator", lambda: accelerator)
    assert is_emulated(asked) is emulated


def test_the_backend_says_whether_it_has_an_accelerator():
    import tensorflow as tf

    assert precision._has_accelerator() == bool(tf.config.list_physical_devices("GPU"))

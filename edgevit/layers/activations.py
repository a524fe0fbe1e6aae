"""Activations by their forms: layers hold a function with a name, which survives saving."""

from __future__ import annotations

import keras


def gelu_exact(x):
    """GELU with the error function (Hendrycks & Gimpel 2016, arXiv:1606.08415). Any shape."""
    return keras.ops.gelu(x, approximate=False)


def gelu_tanh(x):
    """GELU by its approximation with tanh, section 2 of the same paper. Any shape."""
    return keras.ops.gelu(x, approximate=True)

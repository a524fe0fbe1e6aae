"""How Keras layers are written down while a model is traced, so that converters do well.

Keras computes LayerNormalization as ``x * inv + (beta - mean * inv)``. In int8 that form cancels
badly and reaches kernels (SQUARED_DIFFERENCE, NEG) that are slow, missing or float-only; in ONNX
no fusion recognises it. Keras' exact GELU becomes Erfc, which is not an ONNX operator. The forms
below are equal in real arithmetic.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edgevit.core.targets import Format


@dataclass(frozen=True)
class Lowering:
    """One way of writing the layers.

    Attributes:
        layer_norm: (layer, x) -> normalised x; None leaves Keras' own.
        gelu: (x, approximate) -> activation; None leaves Keras' own.
        steps: for the manifest.
    """

    layer_norm: Callable[[Any, Any], Any] | None
    gelu: Callable[[Any, bool], Any] | None
    steps: tuple[str, ...]


def layer_norm_centred(layer: Any, x: Any) -> Any:
    """``d * rsqrt(mean(d * d) + epsilon)`` with ``d = x - mean(x)``: only ops with int8 kernels."""
    from keras import ops

    centred = x - ops.mean(x, axis=layer.axis, keepdims=True)
    variance = ops.mean(centred * centred, axis=layer.axis, keepdims=True)
    return _scale_and_shift(layer, centred * ops.rsqrt(variance + layer.epsilon))


def layer_norm_textbook(layer: Any, x: Any) -> Any:
    """``d / sqrt(mean(d ** 2) + epsilon)``: the form that onnxruntime fuses."""
    import tensorflow as tf
    from keras import ops

    centred = x - ops.mean(x, axis=layer.axis, keepdims=True)
    variance = ops.mean(tf.pow(centred, 2.0), axis=layer.axis, keepdims=True)
    return _scale_and_shift(layer, centred / tf.sqrt(variance + layer.epsilon))


def gelu_textbook(x: Any, approximate: bool) -> Any:
    """Exact GELU through Erf (Hendrycks & Gimpel 2016, arXiv:1606.08415): onnxruntime fuses it."""
    import tensorflow as tf

    if approximate:
        return tf.nn.gelu(x, approximate=True)
    return x * (tf.math.erf(x / math.sqrt(2.0)) + 1.0) * 0.5


def _scale_and_shift(layer: Any, x: Any) -> Any:
    from keras import ops

    shape = [1] * len(x.shape)
    for axis in layer.axis:
        shape[axis] = x.shape[axis]
    if layer.gamma is not None:
        x = x * ops.reshape(layer.gamma, shape)
    if layer.beta is not None:
        x = x + ops.reshape(layer.beta, shape)
    return x


LOWERINGS: dict[Format, Lowering] = {
    Format.SAVEDMODEL: Lowering(None, None, ()),
    Format.TFLITE: Lowering(
        layer_norm_centred, None, ("LayerNormalization as sub, mul, mean, rsqrt",)
    ),
    Format.ONNX: Lowering(
        layer_norm_textbook,
        gelu_textbook,
        ("LayerNormalization as sub, pow, mean, sqrt, div", "exact GELU through Erf"),
    ),
}


@contextlib.contextmanager
def applied(lowering: Lowering) -> Iterator[None]:
    """While the context lasts, Keras layers are traced in the given forms."""
    import keras
    from keras.src.backend import nn

    layer_class = keras.layers.LayerNormalization
    own_call, own_gelu = layer_class.call, nn.gelu
    form, gelu = lowering.layer_norm, lowering.gelu
    try:
        if form is not None:

            def call(self, inputs):
                if self.rms_scaling:
                    return own_call(self, inputs)
                return keras.ops.cast(form(self, inputs), self.compute_dtype)

            layer_class.call = call
        if gelu is not None:
            nn.gelu = lambda x, approximate=True: gelu(x, approximate)
        yield
    finally:
        layer_class.call = own_call
        nn.gelu = own_gelu

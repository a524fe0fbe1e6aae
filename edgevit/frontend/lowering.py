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


@dataclass(frozen=True)
class Lowering:
    """One way of writing the layers.

    Attributes:
        layer_norm: (layer, x) -> normalised x; None leaves Keras' own.
        gelu: (x, approximate) -> activation; None leaves Keras' own.
        matmul: (x, matrix, own matmul) -> product; None leaves Keras' own.
        steps: for the manifest.
        square: x -> x squared; None leaves Keras' own.
        group_norm: (layer, x) -> normalised x of a GroupNormalization; None leaves Keras' own.
        elu: (x, alpha) -> activation; None leaves Keras' own.
        plain_conv: whether grouped convolutions are one operation; Keras compiles them by XLA,
            since TensorFlow on CPUs cannot run them.
    """

    layer_norm: Callable[[Any, Any], Any] | None
    gelu: Callable[[Any, bool], Any] | None
    matmul: Callable[[Any, Any, Callable], Any] | None
    steps: tuple[str, ...]
    square: Callable[[Any], Any] | None = None
    group_norm: Callable[[Any, Any], Any] | None = None
    elu: Callable[[Any, float], Any] | None = None
    plain_conv: bool = False


KERAS = Lowering(None, None, None, ())  # Keras' own forms throughout


def layer_norm_centred(layer: Any, x: Any) -> Any:
    """``d * rsqrt(mean(d * d) + epsilon)`` with ``d = x - mean(x)``: only ops with int8 kernels."""
    from keras import ops

    centred = x - ops.mean(x, axis=layer.axis, keepdims=True)
    variance = ops.mean(centred * centred, axis=layer.axis, keepdims=True)
    return _scale_and_shift(layer, centred * ops.rsqrt(variance + layer.epsilon))


def conv_in_one(own: Callable) -> Callable:
    """Keras' convolution, with grouped ones as the plain operation that converters know."""
    import tensorflow as tf
    from keras.src import backend

    def call(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
        layout = backend.standardize_data_format(data_format)
        grouped = inputs.shape[-1] != kernel.shape[-2]
        if layout != "channels_last" or not grouped:
            return own(inputs, kernel, strides, padding, data_format, dilation_rate)
        return tf.nn.convolution(inputs, kernel, strides, padding.upper(), dilations=dilation_rate)

    return call


def group_norm_centred(layer: Any, x: Any) -> Any:
    """As :func:`layer_norm_centred`, of the channels of each group over all places."""
    from keras import ops

    shape, axis = x.shape, layer.axis % len(x.shape)
    if axis != len(shape) - 1 or None in shape[1:]:
        return None
    groups = shape[-1] if layer.groups == -1 else layer.groups
    places = math.prod(shape[1:-1])
    grouped = ops.reshape(x, (-1, places, groups, shape[-1] // groups))  # B N G D
    centred = grouped - ops.mean(grouped, axis=(1, 3), keepdims=True)
    variance = ops.mean(centred * centred, axis=(1, 3), keepdims=True)
    normal = centred * ops.rsqrt(variance + layer.epsilon)
    normal = ops.reshape(normal, (-1, *shape[1:]))
    if layer.gamma is not None:
        normal = normal * layer.gamma
    return normal if layer.beta is None else normal + layer.beta


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


def matmul_rows(x: Any, matrix: Any, own: Callable) -> Any:
    """A product with one matrix, computed on rows.

    Keras' own becomes a tensordot, which with a free batch computes its shapes while it runs and
    loses them for everything behind it.
    """
    from keras import ops

    if len(matrix.shape) != 2 or len(x.shape) < 3 or None in x.shape[1:]:
        return own(x, matrix)
    rows = own(ops.reshape(x, (-1, x.shape[-1])), matrix)  # rows C'
    return ops.reshape(rows, (-1, *x.shape[1:-1], matrix.shape[-1]))


def square_as_product(x: Any) -> Any:
    """``x * x``: SQUARE has no integer kernel, MUL has one."""
    return x * x


def elu_by_exp(x: Any, alpha: float = 1.0) -> Any:
    """ELU through exp: LiteRT's reference kernels have no ELU of the version that is written."""
    import tensorflow as tf

    return tf.nn.relu(x) + alpha * (tf.exp(tf.minimum(x, 0.0)) - 1.0)


def plain_extreme(name: str) -> Callable:
    """argmax or argmin in one operation.

    Keras' own tells -0.0 from 0.0 by the bits of a float, which no edge runtime can ask for. Which
    of several equal values is named differs in that case alone.
    """
    import tensorflow as tf

    choose = getattr(tf, name)

    def call(x, axis=None, keepdims=False):
        values = tf.reshape(x, [-1]) if axis is None else x
        found = choose(values, axis=0 if axis is None else axis, output_type="int32")
        if not keepdims:
            return found
        rank = len(x.shape)
        return tf.reshape(found, [1] * rank) if axis is None else tf.expand_dims(found, axis)

    return call


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


@contextlib.contextmanager
def unrolled_loops() -> Iterator[None]:
    """While the context lasts, recurrent layers write every step down.

    Loops keep their body in a graph of its own, which neither quantisers nor passes look into; an
    exported file has a fixed number of steps anyway.
    """
    import keras

    recurrent = keras.layers.RNN
    own = recurrent.call

    def call(self, sequences, *args, **options):
        before = self.unroll, getattr(self, "use_cudnn", None)
        self.unroll, self.use_cudnn = sequences.shape[1] is not None, False
        try:
            return own(self, sequences, *args, **options)
        finally:
            self.unroll, self.use_cudnn = before

    recurrent.call = call
    try:
        yield
    finally:
        recurrent.call = own


@contextlib.contextmanager
def applied(lowering: Lowering) -> Iterator[None]:
    """While the context lasts, Keras layers are traced in the given forms."""
    import keras
    from keras.src.backend import nn, numpy

    layer_class, group_class = keras.layers.LayerNormalization, keras.layers.GroupNormalization
    own_group, own_conv, own_elu = group_class.call, nn.conv, nn.elu
    own_call, own_gelu, own_matmul = layer_class.call, nn.gelu, numpy.matmul
    own = {name: getattr(numpy, name) for name in ("argmax", "argmin", "square")}
    form, gelu, matmul = lowering.layer_norm, lowering.gelu, lowering.matmul
    try:
        if form is not None:

            def call(self, inputs):
                if self.rms_scaling:
                    return own_call(self, inputs)
                return keras.ops.cast(form(self, inputs), self.compute_dtype)

            layer_class.call = call
        if lowering.group_norm is not None:
            group_form = lowering.group_norm

            def call_group(self, inputs):
                found = group_form(self, inputs)
                return own_group(self, inputs) if found is None else found

            group_class.call = call_group
        if gelu is not None:
            nn.gelu = lambda x, approximate=True: gelu(x, approximate)
        if matmul is not None:
            numpy.matmul = lambda x1, x2: matmul(x1, x2, own_matmul)
        if lowering.elu is not None:
            nn.elu = lowering.elu
        if lowering.plain_conv:
            nn.conv = conv_in_one(own_conv)
        if lowering.square is not None:
            numpy.square = lowering.square
        for name in ("argmax", "argmin"):
            setattr(numpy, name, plain_extreme(name))
        with unrolled_loops():
            yield
    finally:
        layer_class.call = own_call
        group_class.call = own_group
        nn.gelu, nn.conv, nn.elu = own_gelu, own_conv, own_elu
        numpy.matmul = own_matmul
        for name, function in own.items():
            setattr(numpy, name, function)

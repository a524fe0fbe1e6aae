"""Layers of Keras 2 models that Keras 3 does not have: TensorFlow functions."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from edgevit.base.errors import ModelFileError
from edgevit.frontend.sources.keras2_config import OWN_PACKAGE


def hard_sigmoid(x):
    """Keras 2's: ``clip(0.2 x + 0.5, 0, 1)``. Keras 3's has a slope of 1/6."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def _reduction(operation: Any) -> Any:
    return lambda input_tensor, axis=None, keepdims=False: operation(input_tensor, axis, keepdims)


def _resize(images, size, method="bilinear", **rest):
    _refuse_rest("image.resize", {key: rest[key] for key in rest if rest[key]})
    return ops.image.resize(images, tuple(size), method, data_format="channels_last")


def _refuse_rest(function: str, rest: dict[str, Any]) -> None:
    if rest:
        raise ModelFileError(
            f"the TensorFlow function {function} has the options {', '.join(rest)}"
        )


# By the names that Keras 2 writes, with TensorFlow's own names of the arguments.
FUNCTIONS: dict[str, Any] = {
    "__operators__.add": lambda x, y: x + y,
    "math.add": lambda x, y: x + y,
    "math.subtract": lambda x, y: x - y,
    "math.multiply": lambda x, y: x * y,
    "math.truediv": lambda x, y: x / y,
    "math.divide": lambda x, y: x / y,
    "math.divide_no_nan": lambda x, y: ops.divide_no_nan(x, y),
    "math.negative": lambda x: -x,
    "math.abs": lambda x: ops.abs(x),
    "math.square": lambda x: ops.square(x),
    "math.sqrt": lambda x: ops.sqrt(x),
    "math.rsqrt": lambda x: ops.rsqrt(x),
    "math.exp": lambda x: ops.exp(x),
    "math.log": lambda x: ops.log(x),
    "math.pow": lambda x, y: ops.power(x, y),
    "math.maximum": lambda x, y: ops.maximum(x, y),
    "math.minimum": lambda x, y: ops.minimum(x, y),
    "math.sigmoid": lambda x: ops.sigmoid(x),
    "math.tanh": lambda x: ops.tanh(x),
    "math.reduce_mean": _reduction(ops.mean),
    "math.reduce_sum": _reduction(ops.sum),
    "math.reduce_max": _reduction(ops.max),
    "math.reduce_min": _reduction(ops.min),
    "math.l2_normalize": lambda x, axis=-1, epsilon=1e-12: (
        x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis, keepdims=True), epsilon))
    ),
    "math.argmax": lambda input, axis=-1, output_type="int64": ops.cast(
        ops.argmax(input, axis), output_type
    ),
    "linalg.matmul": lambda a, b, transpose_a=False, transpose_b=False: ops.matmul(
        ops.swapaxes(a, -1, -2) if transpose_a else a, ops.swapaxes(b, -1, -2) if transpose_b else b
    ),
    "nn.relu": lambda features: ops.relu(features),
    "nn.relu6": lambda features: ops.relu6(features),
    "nn.leaky_relu": lambda features, alpha=0.2: ops.leaky_relu(features, alpha),
    "nn.elu": lambda features: ops.elu(features),
    "nn.gelu": lambda features, approximate=False: ops.gelu(features, approximate),
    "nn.silu": lambda features, beta=1.0: features * ops.sigmoid(beta * features),
    "nn.swish": lambda features, beta=1.0: features * ops.sigmoid(beta * features),
    "nn.sigmoid": lambda x: ops.sigmoid(x),
    "nn.tanh": lambda x: ops.tanh(x),
    "nn.softmax": lambda logits, axis=-1: ops.softmax(logits, axis),
    "clip_by_value": lambda t, clip_value_min, clip_value_max: ops.clip(
        t, clip_value_min, clip_value_max
    ),
    "cast": lambda x, dtype: ops.cast(x, dtype),
    "concat": lambda values, axis: ops.concatenate(values, axis),
    "stack": lambda values, axis=0: ops.stack(values, axis),
    "reshape": lambda tensor, shape: ops.reshape(tensor, shape),
    "transpose": lambda a, perm=None: ops.transpose(a, perm),
    "expand_dims": lambda input, axis: ops.expand_dims(input, axis),
    "squeeze": lambda input, axis=None: ops.squeeze(input, axis),
    "pad": lambda tensor, paddings, mode="CONSTANT", constant_values=0: ops.pad(
        tensor, paddings, mode.lower(), *([constant_values] if mode == "CONSTANT" else [])
    ),
    "image.resize": _resize,
    "identity": lambda input: input,
    "stop_gradient": lambda input: input,
}
ALIASES = {
    "math.reduce_mean": ("reduce_mean", "compat.v1.math.reduce_mean"),
    "math.reduce_sum": ("reduce_sum", "compat.v1.math.reduce_sum"),
    "math.reduce_max": ("reduce_max",),
    "linalg.matmul": ("matmul",),
    "nn.relu": ("compat.v1.nn.relu",),
    "nn.softmax": ("compat.v1.nn.softmax",),
    "transpose": ("compat.v1.transpose",),
    "squeeze": ("compat.v1.squeeze",),
    "pad": ("compat.v1.pad",),
    "image.resize": ("compat.v1.image.resize_images",),
}
BY_NAME = {name: FUNCTIONS[own] for own, names in ALIASES.items() for name in names} | FUNCTIONS


class _Operation(keras.layers.Layer):
    """A TensorFlow function as a layer.

    Args:
        function: its name under ``tf``.
    """

    def __init__(self, function: str, **kwargs):
        super().__init__(**kwargs)
        self._allow_non_tensor_positional_args = True  # a constant may stand in front
        self.function = function

    def get_config(self):
        return {**super().get_config(), "function": self.function}


class TFOpLambda(_Operation):
    """A function of :data:`FUNCTIONS`.

    Raises:
        ModelFileError: it is not among them.
    """

    def __init__(self, function: str, **kwargs):
        super().__init__(function, **kwargs)
        if function not in BY_NAME:
            raise ModelFileError(
                f"the TensorFlow function tf.{function} has no counterpart here. Replace it by a "
                "layer, or save the model as a SavedModel folder and give that"
            )

    def call(self, *arguments, **keywords):
        return BY_NAME[self.function](*arguments, **keywords)


class SlicingOpLambda(_Operation):
    """``x[...]``, with slices as dicts of start, stop and step."""

    def call(self, tensor, slice_spec):
        parts = slice_spec if isinstance(slice_spec, (list, tuple)) else [slice_spec]
        return tensor[tuple(_slice(part) for part in parts)]


def _slice(part: Any) -> Any:
    """A part of an index: a slice, an ellipsis, a new axis or a number."""
    if isinstance(part, dict) and "start" in part:
        return slice(part["start"], part["stop"], part["step"])
    if isinstance(part, dict):  # {"class_name": "__ellipsis__"}
        return Ellipsis
    return part


def register() -> None:
    """Lets Keras find these by name; again each time, since its table of names can be emptied."""
    for own in (hard_sigmoid, TFOpLambda, SlicingOpLambda):
        keras.saving.register_keras_serializable(OWN_PACKAGE)(own)

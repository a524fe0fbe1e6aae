"""From a Keras model to one TensorFlow graph with a fixed signature."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from edgevit.base.errors import ConfigError, ExportError, in_one_line
from edgevit.frontend.lowering import KERAS, Lowering, applied
from edgevit.frontend.source import ExportOptions, Source


@dataclass(frozen=True)
class Traced:
    """A graph that is ready for a converter.

    Attributes:
        module: tf.Module that owns the variables. It does not own the function, which would be
            traced once more wherever the module is saved.
        forward: tf.function, with an input signature.
        function: its concrete function of the inputs, in their order, that returns {name: output}.
        inputs: names of the inputs, in the model's order.
        outputs: likewise.
        steps: for the manifest.
    """

    module: Any
    forward: Any
    function: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[str, ...]


def check_io_dtype(options: ExportOptions, integer: bool = False) -> str:
    """The element type of the input.

    Args:
        options: what the user chose.
        integer: whether the file computes in 8-bit integers.

    Raises:
        ConfigError: int8 for a float file.
    """
    if options.input_type == "int8" and not integer:
        raise ConfigError(
            "only tflite-int8 takes int8, since a float file has no scale to read it with. "
            "Drop --io-dtype, or choose uint8 or float32."
        )
    return options.input_type


def trace(source: Source, options: ExportOptions, dtype: str, lowering: Lowering = KERAS) -> Traced:
    """Traces preprocessing and network as one function.

    Args:
        source: what to export.
        options: batch and preprocessing.
        dtype: element type of the traced pictures; other inputs keep their own.
        lowering: how layers are written.

    Raises:
        ConfigError: Keras does not run on TensorFlow in this process.
        ExportError: the model cannot be traced.
    """
    import keras
    import tensorflow as tf

    from edgevit.layers.preprocessing import Preprocessing

    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            f"export needs Keras on TensorFlow, and this process runs it on "
            f"{keras.backend.backend()}. Set KERAS_BACKEND=tensorflow before Keras is imported."
        )
    inputs = source.signature.inputs
    layers = [
        Preprocessing.of(spec.preparation) if options.preprocess and spec.preparation else None
        for spec in inputs
    ]

    def forward(*tensors):
        entering = [
            layer(tensor) if layer else tf.cast(tensor, spec.dtype)
            for layer, tensor, spec in zip(layers, tensors, inputs, strict=True)
        ]
        return dict(source.call(entering))

    signature = []
    for spec in inputs:
        sizes = spec.raw_shape if options.preprocess else spec.shape[1:]
        kind = dtype if spec.preparation else spec.dtype
        signature.append(tf.TensorSpec((options.batch, *sizes), kind, name=spec.name))
    module = tf.Module(
        name=re.sub(r"\W|^(?=\d)", "_", source.name)
    )  # TensorFlow wants an identifier
    traceable = tf.function(forward, input_signature=signature, autograph=False)
    try:
        with applied(lowering):
            function = traceable.get_concrete_function()
    except Exception as error:  # whatever a user's layer raises while it is traced
        raise ExportError(
            f"{source.name}: TensorFlow cannot trace it ({in_one_line(error, 300)})."
        ) from None
    read = {id(variable) for variable in function.variables}  # not the seeds of random layers
    module.variables_ = [v.value for v in source.network.variables if id(v.value) in read]
    inside = ("preprocessing inside the graph",) if any(layers) else ()
    return Traced(
        module,
        traceable,
        function,
        tuple(spec.name for spec in inputs),
        tuple(spec.name for spec in source.signature.outputs),
        (*inside, *lowering.steps),
    )

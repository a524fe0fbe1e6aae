"""From a Keras model to one TensorFlow graph with a fixed signature."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from edgevit.base.errors import ConfigError, ExportError, in_one_line
from edgevit.frontend.lowering import KERAS, Lowering, applied
from edgevit.frontend.source import ExportOptions, Source

INPUT = "images"


@dataclass(frozen=True)
class Traced:
    """A graph that is ready for a converter.

    Attributes:
        module: tf.Module that owns the variables and the function.
        function: concrete function ``images -> {name: output}``.
        steps: for the manifest.
    """

    module: Any
    function: Any
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
        dtype: element type of the traced input.
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
    network = source.network
    contract = source.preprocess
    preprocessing = Preprocessing.of(contract) if options.preprocess else None
    size = contract.input_size if preprocessing else contract.network_size

    def forward(images):
        x = preprocessing(images) if preprocessing else tf.cast(images, tf.float32)
        return dict(network(x, training=False))

    signature = tf.TensorSpec((options.batch, *size, 3), dtype, name=INPUT)
    module = tf.Module(
        name=re.sub(r"\W|^(?=\d)", "_", source.name)
    )  # TensorFlow wants an identifier
    module.forward = tf.function(forward, input_signature=[signature], autograph=False)
    try:
        with applied(lowering):
            function = module.forward.get_concrete_function()
    except Exception as error:  # whatever a user's layer raises while it is traced
        raise ExportError(
            f"{source.name}: TensorFlow cannot trace it ({in_one_line(error, 300)})."
        ) from None
    read = {id(variable) for variable in function.variables}  # not the seeds of random layers
    module.variables_ = [v.value for v in network.variables if id(v.value) in read]
    inside = ("preprocessing inside the graph",) if preprocessing else ()
    return Traced(module, function, (*inside, *lowering.steps))

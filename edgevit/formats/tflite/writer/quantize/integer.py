"""From a float TFLite graph and activation ranges to an integer-only one."""

from __future__ import annotations

from typing import Any

from edgevit.base.errors import ExportError
from edgevit.formats.tflite.runtime.file import (
    is_constant,
    op_names,
    pack_model,
    parse_model,
    tensor_name,
    tensor_type,
)


def annotate_ranges(graph: bytes, ranges: dict[str, tuple[float, float]]) -> bytes:
    """Writes ranges into a float graph, where TensorFlow's quantiser looks for them.

    Args:
        graph: float32 .tflite.
        ranges: (smallest, largest) by tensor name.

    Raises:
        ExportError: an activation has no range: the record belongs to another graph.
    """
    model = parse_model(graph, "float graph")
    (subgraph,) = model.subgraphs
    ranges = carry_through_reshapes(model, ranges)
    missing = []
    for tensor in subgraph.tensors:
        if tensor_type(tensor) != "float32" or is_constant(model, tensor):
            continue
        name = tensor_name(tensor)
        if name not in ranges:
            missing.append(name)
            continue
        low, high = ranges[name]
        tensor.quantization.min = [min(low, 0.0)]
        tensor.quantization.max = [max(high, 0.0)]
    if missing:
        raise ExportError(
            f"the calibration record has no range for {len(missing)} activations, {missing[0]!r} "
            "among them: it belongs to another graph. Calibrate anew with --calibration PATH."
        )
    return pack_model(model)


def carry_through_reshapes(
    model: Any, ranges: dict[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """A reshape keeps every value, so both of its sides have the range of either.

    A graph with a free batch has reshapes that the calibrated one, with a batch of one, has not.
    """
    found = dict(ranges)
    (subgraph,), (names,) = model.subgraphs, op_names(model)
    for operator, name in zip(subgraph.operators, names, strict=True):
        if name == "RESHAPE":
            before = tensor_name(subgraph.tensors[operator.inputs[0]])
            after = tensor_name(subgraph.tensors[operator.outputs[0]])
            if before in found:
                found.setdefault(after, found[before])
            elif after in found:
                found[before] = found[after]
    return found


def quantize(graph: bytes, input_type: str, output_type: str) -> bytes:
    """Quantises an annotated float graph: int8 activations, int8 weights a channel, int32 biases.

    Args:
        graph: of :func:`annotate_ranges`.
        input_type: "uint8", "int8" or "float32".
        output_type: "int8" or "float32".

    Raises:
        ExportError: TensorFlow's quantiser refuses the graph.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    try:
        return bytes(
            mlir_quantize(
                graph,
                input_data_type=tf.dtypes.as_dtype(input_type),
                output_data_type=tf.dtypes.as_dtype(output_type),
            )
        )
    except Exception as error:  # the converter's own exceptions share no public base class
        raise ExportError(f"TensorFlow's quantiser refuses the graph ({error}).") from None

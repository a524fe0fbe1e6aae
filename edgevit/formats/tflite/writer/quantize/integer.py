"""From a float TFLite graph and activation ranges to an integer-only one."""

from __future__ import annotations

from edgevit.base.errors import ExportError
from edgevit.formats.tflite.writer.graph import TfliteGraph

Ranges = dict[str, tuple[float, float]]


def annotate_ranges(graph: TfliteGraph, ranges: Ranges) -> None:
    """Writes ranges into a float graph, where TensorFlow's quantiser looks for them.

    Args:
        graph: float32; changed in place.
        ranges: (smallest, largest) by tensor name.

    Raises:
        ExportError: an activation has no range: the record belongs to another graph.
    """
    ranges = carry_through_reshapes(graph, ranges)
    missing = []
    for index, name in graph.activations():
        if name not in ranges:
            missing.append(name)
            continue
        low, high = ranges[name]
        quantization = graph.tensors[index].quantization
        quantization.min, quantization.max = [min(low, 0.0)], [max(high, 0.0)]
    if missing:
        raise ExportError(
            f"the calibration record has no range for {len(missing)} activations, {missing[0]!r} "
            "among them: it belongs to another graph. Calibrate anew with --calibration PATH."
        )


def carry_through_reshapes(graph: TfliteGraph, ranges: Ranges) -> Ranges:
    """A reshape keeps every value, so both of its sides have the range of either.

    A graph with a free batch has reshapes that the calibrated one, with a batch of one, has not.
    """
    found = dict(ranges)
    for operator in graph.operators:
        if graph.kind(operator) == "RESHAPE":
            before, after = (
                graph.name(int(side[0])) for side in (operator.inputs, operator.outputs)
            )
            if before in found:
                found.setdefault(after, found[before])
            elif after in found:
                found[before] = found[after]
    return found


def quantize(graph: TfliteGraph, input_type: str, output_type: str) -> bytes:
    """Quantises an annotated float graph: int8 activations, int8 weights a channel, int32 biases.

    Args:
        graph: of :func:`annotate_ranges`.
        input_type: "uint8", "int8" or "float32".
        output_type: likewise.

    Raises:
        ExportError: TensorFlow's quantiser refuses the graph.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    try:
        return bytes(
            mlir_quantize(
                graph.to_bytes(),
                input_data_type=tf.dtypes.as_dtype(input_type),
                output_data_type=tf.dtypes.as_dtype(output_type),
            )
        )
    except Exception as error:  # the converter's own exceptions share no public base class
        raise ExportError(f"TensorFlow's quantiser refuses the graph ({error}).") from None

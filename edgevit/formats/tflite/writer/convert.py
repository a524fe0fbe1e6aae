"""Keras to TFLite: float, 8-bit and 4-bit weights, integer-only, and mixed precisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgevit.base.errors import ExportError
from edgevit.core.target import Format, Precision, Target
from edgevit.formats.tflite.runtime.file import add_metadata, op_names, pack_model, parse_model
from edgevit.formats.tflite.writer.observe import observe_activations
from edgevit.formats.tflite.writer.passes.table import (
    CENTRE_NORMS,
    CORRECT_BIASES,
    chosen_steps,
    operate,
)
from edgevit.formats.tflite.writer.quantize.correct_biases import correct_biases, entering_names
from edgevit.formats.tflite.writer.quantize.expand_gelu import expand_gelu
from edgevit.formats.tflite.writer.quantize.integer import (
    annotate_ranges,
    carry_through_reshapes,
    quantize,
)
from edgevit.formats.tflite.writer.quantize.micro import suit_micro
from edgevit.formats.tflite.writer.quantize.mixed import has_kernel, write_mixed
from edgevit.formats.tflite.writer.quantize.plan import read_graph
from edgevit.formats.tflite.writer.quantize.precisions import describe_precisions, read_precisions
from edgevit.formats.tflite.writer.quantize.refine_squares import refine_squares
from edgevit.formats.tflite.writer.quantize.split_products import level_ranges, split_products
from edgevit.formats.tflite.writer.quantize.widen_operands import widen_operands
from edgevit.frontend.lowering import KERAS, Lowering, layer_norm_centred
from edgevit.frontend.source import ExportOptions, Source
from edgevit.frontend.trace import Traced, check_io_dtype, trace
from edgevit.quantization.observer import Observation, Observer
from edgevit.quantization.ranges import RangeRecord

LOWERING = Lowering(
    layer_norm_centred, None, None, ("LayerNormalization as sub, mul, mean, rsqrt",)
)


def lowering_of(options: ExportOptions) -> Lowering:
    """How Keras layers are written for LiteRT's integer kernels, unless the user wants not."""
    return LOWERING if CENTRE_NORMS in chosen_steps(options) else KERAS


def export_tflite(
    source: Source, target: Target, options: ExportOptions, ranges: RangeRecord | None
) -> tuple[bytes, tuple[str, ...]]:
    """Lowers a model to one TFLite file.

    Args:
        source: what to export.
        target: a row of TARGETS with format tflite.
        options: batch, preprocessing, input type.
        ranges: activation ranges; needed for int8, ignored otherwise.

    Returns:
        (content, steps taken).

    Raises:
        ExportError: a converter refuses, or ranges are missing.
    """
    wanted = check_io_dtype(options, integer=target.precision is Precision.INT8)
    if target.needs_calibration:
        if ranges is None:
            raise ExportError(f"{target.name} needs activation ranges. Give --calibration PATH.")
        graph, steps = float_graph(source, options)
        used = f"activation ranges of {ranges.images} images ({ranges.source})"
        data, done = STATIC[target.precision](graph, ranges, options, wanted)
        return data, (*steps, used, *done)
    if target.precision is Precision.DYNAMIC_INT4:
        graph, steps = float_graph(source, options)
        weights = "4-bit Dense weights a channel, int8 Conv weights"
        return _write_int4(graph, wanted), (*steps, weights, "activations quantised at run time")
    traced = trace(source, options, wanted, lowering_of(options))
    converter = _converter(traced)
    steps = traced.steps
    if target.precision is Precision.FLOAT32:
        data, changes = operate(_convert(converter, source.name), chosen_steps(options))
        return data, steps + changes
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if target.precision is Precision.FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
        steps += ("weights rounded to float16",)
    else:
        steps += ("int8 weights a channel; activations quantised at run time",)
    return _convert(converter, source.name), steps


def float_graph(source: Source, options: ExportOptions) -> tuple[bytes, tuple[str, ...]]:
    """The float32 TFLite graph that calibration runs and that the quantiser starts from."""
    key = (Format.TFLITE, options.batch, options.preprocess, chosen_steps(options))
    if key not in source.lowered:
        traced = trace(source, options, "float32", lowering_of(options))
        graph, changes = operate(_convert(_converter(traced), source.name), chosen_steps(options))
        source.lowered[key] = graph, traced.steps + changes
    return source.lowered[key]


def observe_tflite(
    source: Source,
    options: ExportOptions,
    images: np.ndarray,
    observer: Observer,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Observation]:
    """What every activation of the float TFLite graph takes on raw images.

    Args:
        source: the model.
        options: preprocessing inside or not; the batch is one.
        images: uint8 B H W 3, training images only.
        observer: what remembers.
        progress: called with (images done, images in all).
    """
    graph, _ = float_graph(source, options)
    entering = images if options.preprocess else source.preprocess.apply(images)
    if CORRECT_BIASES in chosen_steps(options):
        observer.averaged = entering_names(graph)
    found = observe_activations(graph, entering, observer, progress)
    if options.preprocess:  # every raw level may come, whatever the sample held
        entry = next(iter(found))
        found[entry] = Observation(0.0, 255.0, means=found[entry].means)
    return found


def embed_tflite(data: bytes, documents: dict[str, str]) -> bytes:
    """The same file with text documents in its metadata."""
    model = parse_model(data, "export")
    add_metadata(model, documents)
    return pack_model(model)


def _write_int8(
    graph: bytes, ranges: RangeRecord, options: ExportOptions, input_type: str
) -> tuple[bytes, tuple[str, ...]]:
    kinds = op_names(parse_model(graph, "float graph"))[0]
    graph, corrected = with_corrected_biases(graph, ranges, options, [Precision.INT8] * len(kinds))
    graph, found, refined = refine_squares(graph, ranges.ranges)
    if not options.micro:
        found = widen_operands(graph, level_ranges(graph, found))
    data = quantize(annotate_ranges(graph, found), input_type, _output_type(input_type))
    data, rewritten = (suit_micro if options.micro else split_products)(data)
    steps = ("int8 activations, int8 weights a channel, int32 biases", *rewritten)
    return data, (*corrected, *refined, *steps)


def _write_mixed(
    graph: bytes, ranges: RangeRecord, options: ExportOptions, input_type: str
) -> tuple[bytes, tuple[str, ...]]:
    precisions = read_precisions(graph, options.recipe)
    corrected_graph, corrected = with_corrected_biases(graph, ranges, options, precisions)
    known = carry_through_reshapes(parse_model(graph, "float graph"), ranges.ranges)
    known = widen_operands(graph, known)
    data = write_mixed(corrected_graph, known, precisions, input_type)
    origin = "planned by kernel costs" if options.recipe is None else "precisions by a recipe"
    return data, (*corrected, origin, describe_precisions(precisions))


def _write_int16(
    graph: bytes, ranges: RangeRecord, options: ExportOptions, input_type: str
) -> tuple[bytes, tuple[str, ...]]:
    known = carry_through_reshapes(parse_model(graph, "float graph"), ranges.ranges)
    graph, known = expand_gelu(graph, known)
    kinds = op_names(parse_model(graph, "float graph"))[0]
    wanted = [Precision.INT16X8] * len(kinds)
    graph, corrected = with_corrected_biases(graph, ranges, options, wanted)
    data = write_mixed(graph, known, wanted, input_type, _output_type(input_type) == "float32")
    return data, (
        *corrected,
        "int16 activations, int8 weights a channel, int64 biases",
        "GELU by its tanh form",
    )


def with_corrected_biases(
    graph: bytes, ranges: RangeRecord, options: ExportOptions, precisions: Sequence[Precision]
) -> tuple[bytes, tuple[str, ...]]:
    """(the graph with biases for rounded weights, if asked for; a line for the manifest)."""
    if CORRECT_BIASES not in chosen_steps(options):
        return graph, ()
    graph, changes = correct_biases(graph, ranges.means, precisions)
    return graph, ((f"{CORRECT_BIASES}: {changes.count}",) if changes.count else ())


def _write_int4(graph: bytes, input_type: str) -> bytes:
    described = read_graph(graph)
    wanted = []
    for op in described.ops:
        precisions = (Precision.DYNAMIC_INT4, Precision.DYNAMIC) if op.weighted else ()
        wanted.append(next((p for p in precisions if has_kernel(op.kind, p)), Precision.FLOAT32))
    return write_mixed(graph, {}, wanted, input_type)


# (float graph, ranges, options, input type) -> (file, steps)
Writer = Callable[[bytes, RangeRecord, ExportOptions, str], tuple[bytes, tuple[str, ...]]]

STATIC: dict[Precision, Writer] = {
    Precision.INT8: _write_int8,
    Precision.INT16X8: _write_int16,
    Precision.MIXED: _write_mixed,
}


def _converter(traced: Traced) -> Any:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.function], traced.module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]  # never Flex
    return converter


def _convert(converter: Any, name: str) -> bytes:
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter's own exceptions share no public base class
        text = " ".join(str(error).split())
        raise ExportError(
            f"{name}: TensorFlow's converter refuses it without Flex ops ({text[:300]})."
        ) from None


def _output_type(input_type: str) -> str:
    return "float32" if input_type == "float32" else "int8"

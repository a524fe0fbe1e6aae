"""Keras to TFLite: float, 8-bit and 4-bit weights, integer-only, and mixed precisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import ExportError
from edgevit.core.format import Format
from edgevit.core.target import Precision, Written
from edgevit.formats.tflite.options import TfliteOptions
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
from edgevit.formats.tflite.writer.quantize.mixed import has_kernel
from edgevit.formats.tflite.writer.quantize.mixed import write_mixed as write_precisions
from edgevit.formats.tflite.writer.quantize.plan import read_graph
from edgevit.formats.tflite.writer.quantize.precisions import describe_precisions, read_precisions
from edgevit.formats.tflite.writer.quantize.refine_squares import refine_squares
from edgevit.formats.tflite.writer.quantize.split_products import level_ranges, split_products
from edgevit.formats.tflite.writer.quantize.widen_operands import widen_operands
from edgevit.frontend.lowering import KERAS, Lowering, layer_norm_centred
from edgevit.frontend.source import Source
from edgevit.frontend.trace import Traced, check_io_dtype, trace
from edgevit.quantization.observer import Observation, Observer
from edgevit.quantization.ranges import RangeRecord

LOWERING = Lowering(
    layer_norm_centred, None, None, ("LayerNormalization as sub, mul, mean, rsqrt",)
)


def lowering_of(options: TfliteOptions) -> Lowering:
    """How Keras layers are written for LiteRT's integer kernels, unless the user wants not."""
    return LOWERING if CENTRE_NORMS in chosen_steps(options) else KERAS


def write_float32(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """Lowers a model to one TFLite file; so do all writers of this file, each its own target's.

    Args:
        source: what to export.
        options: of the target.
        ranges: activation ranges; needed for static integers, ignored otherwise.
        staged: place of the file; it is returned, not written.

    Raises:
        ConfigError: an input type that the target has not.
        ExportError: a converter refuses, or ranges are missing or of another graph.
    """
    traced = trace(source, options, check_io_dtype(options), lowering_of(options))
    data, changes = operate(_convert(_converter(traced), source.name), chosen_steps(options))
    return Written(data, traced.steps + changes)


def write_float16(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """float16 weights; see :func:`write_float32`."""
    import tensorflow as tf

    types = [tf.float16]
    return _write_converted(source, options, "weights rounded to float16", types)


def write_dynamic(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """int8 weights, activations quantised at run time; see :func:`write_float32`."""
    step = "int8 weights a channel; activations quantised at run time"
    return _write_converted(source, options, step)


def write_dynamic_int4(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """4-bit Dense weights, activations quantised at run time; see :func:`write_float32`."""
    wanted = check_io_dtype(options)
    graph, steps = float_graph(source, options)
    described = read_graph(graph)
    precisions = []
    for op in described.ops:
        usable = (Precision.DYNAMIC_INT4, Precision.DYNAMIC) if op.weighted else ()
        precisions.append(next((p for p in usable if has_kernel(op.kind, p)), Precision.FLOAT32))
    data = write_precisions(graph, {}, precisions, wanted)
    weights = "4-bit Dense weights a channel, int8 Conv weights"
    return Written(data, (*steps, weights, "activations quantised at run time"))


def write_int8(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """Integers throughout; see :func:`write_float32`."""
    return _write_int8(source, options, ranges, micro=False)


def write_int8_micro(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """Integers throughout, in operators of TensorFlow Lite Micro; see :func:`write_float32`."""
    return _write_int8(source, options, ranges, micro=True)


def write_mixed(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """Each operator in a precision of its own; see :func:`write_float32`."""
    wanted = check_io_dtype(options)
    graph, ranges, steps = _calibrated_graph(source, options, ranges)
    precisions = read_precisions(graph, options.recipe)
    corrected_graph, corrected = with_corrected_biases(graph, ranges, options, precisions)
    known = carry_through_reshapes(parse_model(graph, "float graph"), ranges.ranges)
    known = widen_operands(graph, known)
    data = write_precisions(corrected_graph, known, precisions, wanted)
    origin = "planned by kernel costs" if options.recipe is None else "precisions by a recipe"
    return Written(data, (*steps, *corrected, origin, describe_precisions(precisions)))


def write_int16x8(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """int16 activations, int8 weights; see :func:`write_float32`."""
    input_type = check_io_dtype(options)
    graph, ranges, steps = _calibrated_graph(source, options, ranges)
    known = carry_through_reshapes(parse_model(graph, "float graph"), ranges.ranges)
    graph, known = expand_gelu(graph, known)
    kinds = op_names(parse_model(graph, "float graph"))[0]
    wanted = [Precision.INT16X8] * len(kinds)
    graph, corrected = with_corrected_biases(graph, ranges, options, wanted)
    floats = _output_type(input_type) == "float32"
    data = write_precisions(graph, known, wanted, input_type, floats)
    activations = "int16 activations, int8 weights a channel, int64 biases"
    return Written(data, (*steps, *corrected, activations, "GELU by its tanh form"))


def float_graph(source: Source, options: TfliteOptions) -> tuple[bytes, tuple[str, ...]]:
    """The float32 TFLite graph that calibration runs and that the quantiser starts from."""
    key = (Format.TFLITE, options.batch, options.preprocess, chosen_steps(options))
    if key not in source.lowered:
        traced = trace(source, options, "float32", lowering_of(options))
        graph, changes = operate(_convert(_converter(traced), source.name), chosen_steps(options))
        source.lowered[key] = graph, traced.steps + changes
    return source.lowered[key]


def observe_tflite(
    source: Source,
    options: TfliteOptions,
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


def embed_tflite(content: bytes, documents: dict[str, str], staged: Path) -> None:
    """Writes the file with text documents in its metadata."""
    model = parse_model(content, "export")
    add_metadata(model, documents)
    staged.write_bytes(pack_model(model))


def _write_int8(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, micro: bool
) -> Written:
    input_type = check_io_dtype(options, integer=True)
    graph, ranges, steps = _calibrated_graph(source, options, ranges)
    kinds = op_names(parse_model(graph, "float graph"))[0]
    graph, corrected = with_corrected_biases(graph, ranges, options, [Precision.INT8] * len(kinds))
    graph, found, refined = refine_squares(graph, ranges.ranges)
    if not micro:
        found = widen_operands(graph, level_ranges(graph, found))
    data = quantize(annotate_ranges(graph, found), input_type, _output_type(input_type))
    data, rewritten = (suit_micro if micro else split_products)(data)
    numbers = "int8 activations, int8 weights a channel, int32 biases"
    return Written(data, (*steps, *corrected, *refined, numbers, *rewritten))


def _calibrated_graph(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None
) -> tuple[bytes, RangeRecord, tuple[str, ...]]:
    """(the float graph, its activation ranges, lines for the manifest)."""
    if ranges is None:
        raise ExportError("static integers need activation ranges. Give --calibration PATH.")
    graph, steps = float_graph(source, options)
    used = f"activation ranges of {ranges.images} images ({ranges.source})"
    return graph, ranges, (*steps, used)


def _write_converted(
    source: Source, options: TfliteOptions, step: str, types: Sequence[Any] = ()
) -> Written:
    """What TensorFlow's converter makes of the weights; ``types``: all that it may make them."""
    import tensorflow as tf

    traced = trace(source, options, check_io_dtype(options), lowering_of(options))
    converter = _converter(traced)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if types:
        converter.target_spec.supported_types = list(types)
    return Written(_convert(converter, source.name), (*traced.steps, step))


def with_corrected_biases(
    graph: bytes, ranges: RangeRecord, options: TfliteOptions, precisions: Sequence[Precision]
) -> tuple[bytes, tuple[str, ...]]:
    """(the graph with biases for rounded weights, if asked for; a line for the manifest)."""
    if CORRECT_BIASES not in chosen_steps(options):
        return graph, ()
    graph, changes = correct_biases(graph, ranges.means, precisions)
    return graph, ((f"{CORRECT_BIASES}: {changes.count}",) if changes.count else ())


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

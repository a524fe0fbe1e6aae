"""Keras to TFLite: float, 8-bit and 4-bit weights, integer-only, and mixed precisions.

A file is read once, as TensorFlow's converter returns it, rewritten in place, and packed once, when
the documents that travel inside it are there. TensorFlow's quantiser takes and returns bytes: a
file of static int8 is packed and read once more around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import ExportError
from edgevit.base.memory import give_back
from edgevit.core.format import Format
from edgevit.core.target import Precision, Written
from edgevit.formats.passes import report_lines
from edgevit.formats.tflite.options import TfliteOptions
from edgevit.formats.tflite.runtime.file import signature_specs
from edgevit.formats.tflite.writer.converter import Start, convert_model, trace_once
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.observe import observe_activations
from edgevit.formats.tflite.writer.passes import (
    CENTRE_NORMS,
    CORRECT_BIASES,
    LEVEL_CHANNELS,
    TRY_ON_SAMPLES,
    chosen_passes,
    run_passes,
)
from edgevit.formats.tflite.writer.passes.fold_constants import fold_constants
from edgevit.formats.tflite.writer.passes.suit_integers import slice_splits, suit_integers
from edgevit.formats.tflite.writer.quantize.bound_masks import bound_masks
from edgevit.formats.tflite.writer.quantize.bound_padding import bound_padding
from edgevit.formats.tflite.writer.quantize.choose_form import (
    Built,
    Form,
    OpenedTrial,
    Rewritten,
    choose_form,
    rewrite,
)
from edgevit.formats.tflite.writer.quantize.correct_biases import correct_biases, entering_names
from edgevit.formats.tflite.writer.quantize.expand_gelu import expand_gelu
from edgevit.formats.tflite.writer.quantize.expand_hard_swish import expand_hard_swish
from edgevit.formats.tflite.writer.quantize.expand_prelu import expand_prelu
from edgevit.formats.tflite.writer.quantize.float_graph import describe_graph
from edgevit.formats.tflite.writer.quantize.give_room import give_room
from edgevit.formats.tflite.writer.quantize.integer import (
    annotate_ranges,
    carry_through_reshapes,
    quantize,
)
from edgevit.formats.tflite.writer.quantize.level_channels import channel_names
from edgevit.formats.tflite.writer.quantize.micro import suit_micro
from edgevit.formats.tflite.writer.quantize.narrow_ranges import narrow_ranges
from edgevit.formats.tflite.writer.quantize.refine_squares import refine_squares
from edgevit.formats.tflite.writer.quantize.set_precisions import set_precisions
from edgevit.formats.tflite.writer.quantize.split_deviations import split_deviations
from edgevit.formats.tflite.writer.quantize.split_products import level_ranges, split_products
from edgevit.formats.tflite.writer.quantize.suit_npu import suit_npu
from edgevit.formats.tflite.writer.quantize.tables import (
    TABLES_8,
    TABLES_16,
    hide_functions,
    write_tables,
)
from edgevit.formats.tflite.writer.quantize.widen_operands import widen_operands
from edgevit.formats.tflite.writer.standard_metadata import write_for_clients
from edgevit.frontend.lowering import (
    KERAS,
    Lowering,
    elu_by_exp,
    group_norm_centred,
    layer_norm_centred,
    resize_by_products,
    square_as_product,
    take_plainly,
)
from edgevit.frontend.source import Source
from edgevit.frontend.trace import check_io_dtype
from edgevit.frontend.volumes import (
    adaptive_pool,
    conv_in_groups,
    conv_of_frames,
    conv_transpose_of_frames,
    pool_of_frames,
)
from edgevit.quantization.observer import Observation, Observer
from edgevit.quantization.precisions import choose_precisions, describe_precisions
from edgevit.quantization.ranges import RangeRecord
from edgevit.quantization.trial import trial_of

LOWERING = Lowering(
    layer_norm_centred,
    None,
    None,
    ("LayerNormalization as sub, mul, mean, rsqrt",),
    {"GroupNormalization": group_norm_centred},
    {
        "image.resize": resize_by_products,
        "nn.adaptive_average_pool": adaptive_pool("average_pool"),
        "nn.adaptive_max_pool": adaptive_pool("max_pool"),
        "nn.average_pool": pool_of_frames,
        "nn.conv": lambda own: conv_in_groups(conv_of_frames(own)),
        "nn.conv_transpose": conv_transpose_of_frames,
        "nn.elu": elu_by_exp,
        "nn.max_pool": pool_of_frames,
        "numpy.square": square_as_product,
        "numpy.take": take_plainly,
    },
)


def lowering_of(options: TfliteOptions) -> Lowering:
    """How Keras layers are written for LiteRT's integer kernels, unless the user wants not."""
    return LOWERING if CENTRE_NORMS in chosen_passes(options) else KERAS


def write_float32(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """Lowers a model to one TFLite file; so do all writers of this file, each its own target's.

    Args:
        source: what to export.
        options: of the target.
        ranges: activation ranges; needed for static integers, ignored otherwise.
        staged: place of the file; it is written when the documents inside it are there.

    Raises:
        ConfigError: an input type that the target has not.
        ExportError: a converter refuses, or ranges are missing or of another graph.
    """
    start = trace_once(source, options, check_io_dtype(options), lowering_of(options))
    graph, moved, converted = _convert(start, source)
    changes = run_passes(graph, chosen_passes(options))
    unchanged = None if changes or moved else converted
    return _written(staged, graph, (*start.steps, *changes), unchanged)


def write_float16(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """float16 weights; see :func:`write_float32`."""
    import tensorflow as tf

    step = "weights rounded to float16"
    return _write_converted(source, options, staged, step, [tf.float16])


def write_dynamic(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """int8 weights, activations quantised at run time; see :func:`write_float32`."""
    step = "int8 weights a channel; activations quantised at run time"
    return _write_converted(source, options, staged, step, [])


def write_dynamic_int4(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """4-bit Dense weights, activations quantised at run time; see :func:`write_float32`."""
    input_type = check_io_dtype(options)
    graph, steps = float_graph(source, options)
    graph = graph.copy()
    wanted = (Precision.DYNAMIC_INT4, Precision.DYNAMIC)
    precisions = [
        next((precision for precision in wanted if precision in op.precisions), Precision.FLOAT32)
        for op in describe_graph(graph).ops
    ]
    set_precisions(graph, {}, precisions, _raw_inputs(source, options, input_type))
    weights = "4-bit Dense weights a channel, int8 Conv weights"
    return _written(staged, graph, (*steps, weights, "activations quantised at run time"))


def write_int8(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """Integers throughout; see :func:`write_float32`."""
    return _write_int8(source, options, ranges, staged, split_products)


def write_int8_micro(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """Integers throughout, in operators of TensorFlow Lite Micro; see :func:`write_float32`."""
    return _write_int8(source, options, ranges, staged, suit_micro, widen=False)


def write_int8_npu(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """Integers throughout, in operators of Arm's Ethos-U; see :func:`write_float32`."""
    return _write_int8(source, options, ranges, staged, suit_npu)


def write_mixed(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """Each operator in a precision of its own; see :func:`write_float32`."""
    input_type = check_io_dtype(options)
    graph, record, steps = _calibrated_graph(source, options, ranges)
    precisions = choose_precisions(describe_graph(graph), options.recipe)
    known = give_room(graph, carry_through_reshapes(graph, record.ranges))
    known = widen_operands(graph, known)
    corrected = _correct_biases(graph, record, options, precisions)
    set_precisions(graph, known, precisions, _raw_inputs(source, options, input_type))
    origin = "planned by kernel costs" if options.recipe is None else "precisions by a recipe"
    return _written(staged, graph, (*steps, *corrected, origin, describe_precisions(precisions)))


def write_int16x8(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """int16 activations, int8 weights; see :func:`write_float32`."""
    input_type = check_io_dtype(options)
    graph, record, steps = _calibrated_graph(source, options, ranges)
    slice_splits(graph)
    known = expand_gelu(graph, carry_through_reshapes(graph, record.ranges))
    known = expand_prelu(graph, expand_hard_swish(graph, known))
    known, split = split_deviations(graph, bound_masks(graph, known))
    functions = hide_functions(graph, TABLES_16)
    precisions = [Precision.INT16X8] * len(graph.operators)
    corrected = _correct_biases(graph, record, options, precisions)
    floats = _output_type(input_type) == "float32"
    set_precisions(graph, known, precisions, _raw_inputs(source, options, input_type), floats)
    tables = write_tables(graph, functions, TABLES_16)
    activations = "int16 activations, int8 weights a channel, int64 biases"
    lines = (*steps, *corrected, *split, activations, "GELU by its tanh form", *tables)
    return _written(staged, graph, lines)


def float_graph(source: Source, options: TfliteOptions) -> tuple[TfliteGraph, tuple[str, ...]]:
    """The float32 graph that calibration runs and that quantisers start from, with its steps.

    Several targets share it: who changes it takes a copy.
    """
    names = chosen_passes(options)
    key = (Format.TFLITE, options.batch, options.preprocess, names)
    if key not in source.lowered:
        start = trace_once(source, options, "float32", lowering_of(options))
        graph, _, _ = _convert(start, source)
        changes = run_passes(graph, names)
        forms = report_lines([suit_integers(graph)])
        source.lowered[key] = graph, (*start.steps, *changes, *forms)
    return source.lowered[key]


def observe_tflite(
    source: Source,
    options: TfliteOptions,
    inputs: Mapping[str, np.ndarray],
    observer: Observer,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Observation]:
    """What every activation of the float TFLite graph takes on raw samples.

    Args:
        source: the model.
        options: preprocessing inside or not; the batch is one.
        inputs: B ... by name, as a caller hands them over; training samples only.
        observer: what remembers.
        progress: called with (samples done, samples in all).
    """
    graph, _ = float_graph(source, options)
    entering = _enter(source, options, inputs)
    if CORRECT_BIASES in chosen_passes(options):
        observer.averaged = entering_names(graph)
    if LEVEL_CHANNELS in chosen_passes(options):
        observer.divided = channel_names(graph)
    found = observe_activations(graph, entering, observer, progress)
    for name in _raw_inputs(source, options, "uint8"):  # whatever the sample held
        entry = graph.name(graph.input_named(name))
        found[entry] = Observation(0.0, 255.0, means=found[entry].means)
    return found


def _enter(
    source: Source, options: TfliteOptions, inputs: Mapping[str, np.ndarray]
) -> Mapping[str, np.ndarray]:
    """Raw samples as the float graph takes them, by name."""
    if options.preprocess:
        return inputs
    names = [spec.name for spec in source.signature.inputs]
    return dict(zip(names, source.prepare(inputs), strict=True))


def _write_int8(
    source: Source,
    options: TfliteOptions,
    ranges: RangeRecord | None,
    staged: Path,
    suit: Callable[[TfliteGraph], tuple[str, ...]],
    widen: bool = True,
) -> Written:
    """``suit`` rewrites the integer graph; ``widen``: ranges as XNNPACK and products want them."""
    check_io_dtype(options, integer=True)
    graph, record, steps = _calibrated_graph(source, options, ranges)
    names = chosen_passes(options)
    form = Form(levels=LEVEL_CHANNELS in names, biases=CORRECT_BIASES in names)
    trial = _open_trial(source, options, record) if TRY_ON_SAMPLES in names else None
    if trial:
        record = trial.add_statistics(record)

    rewritten: dict[Form, Rewritten] = {}

    def build(form: Form) -> Built:
        key = replace(form, width=1.0)
        if key not in rewritten:
            rewritten.clear()
            rewritten[key] = rewrite(graph, record, key, trial)
        return _build_int8(source, options, rewritten[key], form.width, suit, widen)

    built = choose_form(build, form, trial, gates=widen) if trial else build(form)
    return _written(staged, built.graph, (*steps, *built.steps), built.unchanged)


def _build_int8(
    source: Source,
    options: TfliteOptions,
    rewritten: Rewritten,
    width: float,
    suit: Callable[[TfliteGraph], tuple[str, ...]],
    widen: bool,
) -> Built:
    """A file with ranges of a certain width."""
    graph = rewritten.graph.copy()
    cut, narrow = narrow_ranges(rewritten.ranges, rewritten.ends, width)
    known, refined = refine_squares(graph, bound_masks(graph, cut))
    known = give_room(graph, known)
    if widen:
        known = widen_operands(graph, level_ranges(graph, known))
    functions = hide_functions(graph, TABLES_8)
    annotate_ranges(graph, known)
    input_type = options.input_type
    quantised = quantize(graph, input_type, options.output_dtype or _output_type(input_type))
    graph, moved = _open_graph(quantised, source)
    tables = write_tables(graph, functions, TABLES_8)
    changes = (*tables, *suit(graph))
    numbers = "int8 activations, int8 weights a channel, int32 biases"
    lines = (*rewritten.steps, *narrow, *refined, numbers, *changes)
    return Built(graph, lines, None if changes or moved else quantised)


def _open_trial(source: Source, options: TfliteOptions, record: RangeRecord) -> OpenedTrial | None:
    """The samples behind a record as its float graph takes them; None where none are at hand."""
    trial = trial_of(record)
    if trial is None:
        return None
    graph, _ = float_graph(source, replace(options, batch=1))
    raw = _raw_inputs(source, options, "uint8")
    return OpenedTrial(graph, trial, partial(_enter, source, options), raw)


def _calibrated_graph(
    source: Source, options: TfliteOptions, ranges: RangeRecord | None
) -> tuple[TfliteGraph, RangeRecord, tuple[str, ...]]:
    """(a float graph to be changed, its activation ranges, lines for the manifest)."""
    if ranges is None:
        raise ExportError("static integers need activation ranges. Give --calibration PATH.")
    graph, steps = float_graph(source, options)
    graph = graph.copy()
    known = bound_padding(graph, ranges.ranges)
    seen = {name: pair for name, pair in ranges.seen.items() if known[name] == ranges.ranges[name]}
    record = replace(ranges, ranges=known, seen=seen)
    used = f"activation ranges of {ranges.images} images ({ranges.source})"
    return graph, record, (*steps, used)


def _correct_biases(
    graph: TfliteGraph, ranges: RangeRecord, options: TfliteOptions, precisions: Sequence[Precision]
) -> tuple[str, ...]:
    """Corrects biases for rounded weights, if asked for. A line for the manifest."""
    if CORRECT_BIASES not in chosen_passes(options):
        return ()
    return report_lines([correct_biases(graph, ranges.means, precisions)])


def _write_converted(
    source: Source, options: TfliteOptions, staged: Path, step: str, types: Sequence[Any]
) -> Written:
    """What TensorFlow's converter makes of the weights; ``types``: all that it may make them."""
    start = trace_once(source, options, check_io_dtype(options), lowering_of(options))
    graph, moved, converted = _convert(start, source, types)
    return _written(staged, graph, (*start.steps, step), None if moved else converted)


def _written(
    staged: Path, graph: TfliteGraph, steps: tuple[str, ...], unchanged: bytes | None = None
) -> Written:
    """A finished graph.

    Args:
        staged: place of the file.
        graph: of the file.
        steps: for the manifest.
        unchanged: the bytes that the graph was read from, if nothing was rewritten since.
    """

    copied = graph.copy_shared_outputs()

    def finish(documents: Mapping[str, str]) -> None:
        as_it_was = unchanged if not documents and not copied else None
        staged.write_bytes(as_it_was or write_for_clients(graph, staged, documents))

    inputs, outputs = signature_specs(graph.model)
    return Written(steps, inputs, outputs, finish)


def _convert(
    start: Start, source: Source, types: Sequence[Any] | None = None
) -> tuple[TfliteGraph, bool, bytes]:
    """(the graph, whether it changed since, what it was read from); see :func:`convert_model`."""
    converted = convert_model(start, source.name, source.weights_bytes, types)
    graph, moved = _open_graph(converted, source)
    folded = fold_constants(graph)
    give_back(source.weights_bytes)
    return graph, moved or folded.count > 0, converted


def _open_graph(data: bytes, source: Source) -> tuple[TfliteGraph, bool]:
    """(a graph with inputs and outputs in the model's order; whether that moved any)."""
    graph = TfliteGraph(data)
    signature = source.signature
    moved = graph.order_borders(
        [spec.name for spec in signature.inputs], [spec.name for spec in signature.outputs]
    )
    return graph, moved


def _raw_inputs(source: Source, options: TfliteOptions, input_type: str) -> tuple[str, ...]:
    """Names of the inputs that take raw pixels in bytes."""
    if input_type != "uint8" or not options.preprocess:
        return ()
    return tuple(spec.name for spec in source.signature.inputs if spec.preparation)


def _output_type(input_type: str) -> str:
    return "float32" if input_type == "float32" else "int8"

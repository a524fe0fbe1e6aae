"""Keras to ONNX: tf2onnx operation by operation, then our own passes; float and 8 bits."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import ExportError, MissingDependencyError
from edgevit.core.format import Format
from edgevit.core.target import Written
from edgevit.formats.onnx.options import OnnxOptions
from edgevit.formats.onnx.runtime.file import declared_specs
from edgevit.formats.onnx.writer.names import layer_path, make_names_canonical
from edgevit.formats.onnx.writer.ordered_sets import ordered_sets
from edgevit.formats.onnx.writer.quantize import ranges as onnx_ranges
from edgevit.formats.onnx.writer.quantize.dynamic import quantize_dynamic
from edgevit.formats.onnx.writer.quantize.half import to_half
from edgevit.formats.onnx.writer.quantize.static import quantize_static
from edgevit.formats.passes import report_lines
from edgevit.frontend.lowering import (
    Lowering,
    gelu_textbook,
    layer_norm_textbook,
    matmul_rows,
)
from edgevit.frontend.source import Source
from edgevit.frontend.trace import check_io_dtype, trace
from edgevit.quantization.observer import Observation, Observer
from edgevit.quantization.ranges import RangeRecord

# The last opset that tf2onnx writes; up to 20 nothing that it writes changes its meaning.
LAST_OF_TF2ONNX = 18

LOWERING = Lowering(
    layer_norm_textbook,
    gelu_textbook,
    matmul_rows,
    ("LayerNormalization as sub, pow, mean, sqrt, div", "exact GELU through Erf"),
)


def write_float32(
    source: Source, options: OnnxOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """Lowers a model to one ONNX file; so do all writers of this file, each its own target's.

    Args:
        source: what to export.
        options: of the target.
        ranges: of :func:`edgevit.formats.calibration.calibrate`; needed for int8.
        staged: place of the file; it is written when the documents inside it are there.

    Raises:
        ConfigError: an input type that no ONNX file has.
        ExportError: tf2onnx refuses the graph, leaves an operator that is not ONNX, or ranges are
            missing or of another graph.
        MissingDependencyError: tf2onnx or onnx is not installed.
    """
    return _write(source, options, staged, "onnx-float32", finish_float)


def write_float32_cpu(
    source: Source, options: OnnxOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """float32 with rewrites that pay on CPUs only; see :func:`write_float32`."""
    finish = functools.partial(finish_float, cpu=True)
    return _write(source, options, staged, "onnx-float32-cpu", finish)


def write_float16(
    source: Source, options: OnnxOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """float16 weights and arithmetic; see :func:`write_float32`."""
    return _write(source, options, staged, "onnx-float16", to_half)


def write_dynamic(
    source: Source, options: OnnxOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """int8 weights, activations quantised at run time; see :func:`write_float32`."""
    return _write(source, options, staged, "onnx-dynamic", quantize_dynamic)


def write_int8(
    source: Source, options: OnnxOptions, ranges: RangeRecord | None, staged: Path
) -> Written:
    """8-bit weighted layers; see :func:`write_float32`."""
    if ranges is None:
        raise ExportError("onnx-int8 needs activation ranges. Give --calibration PATH.")
    known = ranges.ranges
    used = f"activation ranges of {ranges.images} images ({ranges.source})"
    return _write(
        source, options, staged, "onnx-int8", lambda model: (used, *quantize_static(model, known))
    )


def _write(
    source: Source,
    options: OnnxOptions,
    staged: Path,
    target: str,
    finish: Callable[[Any], tuple[str, ...]],
) -> Written:
    """The float32 graph, and what ``finish`` makes of it in place; that returns steps."""
    model, steps = _float_model_once(source, options)
    try:
        steps += finish(model)
    except ExportError as error:
        raise ExportError(f"{source.name}: {target}: {error}") from None
    import onnx

    onnx.checker.check_model(model, full_check=True)

    def write(documents: Mapping[str, str]) -> None:
        if documents:
            onnx.helper.set_model_props(model, dict(documents))
        staged.write_bytes(model.SerializeToString(deterministic=True))

    return Written(steps, *declared_specs(model), write)


def finish_float(model: Any, cpu: bool = False) -> tuple[str, ...]:
    """Rewrites a float32 ModelProto in place by passes that are of no use to other precisions.

    Args:
        model: of :func:`float_model`.
        cpu: whether passes run as well that pay on CPUs only.

    Returns:
        Lines for the manifest; none if there was nothing to rewrite.
    """
    import onnx_ir

    from edgevit.formats.onnx.writer.passes import CPU_PASSES, FLOAT_PASSES, run_passes

    graph = onnx_ir.from_proto(model)
    reports = run_passes(graph, FLOAT_PASSES + (CPU_PASSES if cpu else ()))
    model.CopyFrom(onnx_ir.to_proto(graph))
    make_names_canonical(model)
    return report_lines(reports)


def observe_onnx(
    source: Source,
    options: OnnxOptions,
    images: np.ndarray,
    observer: Observer,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Observation]:
    """What enters and leaves the weighted layers of the ONNX graph on raw images.

    Args:
        source: the model.
        options: preprocessing inside or not; the batch is one.
        images: uint8 B H W 3, training images only.
        observer: what remembers.
        progress: called with (images done, images in all).
    """
    model, _ = _float_model_once(source, options)
    extremes = np.stack([np.full_like(images[0], level) for level in (0, 255)])
    if not options.preprocess:
        images, extremes = (source.preprocess.apply(raw) for raw in (images, extremes))
    return onnx_ranges.observe(model, images, extremes, observer, progress)


def _float_model_once(source: Source, options: OnnxOptions) -> tuple[Any, tuple[str, ...]]:
    """:func:`float_model`, lowered once for all targets and the calibration. A copy to change."""
    import onnx

    key = (Format.ONNX, options)
    if key not in source.lowered:
        model, steps = float_model(source, options)
        source.lowered[key] = model.SerializeToString(deterministic=True), steps
    data, steps = source.lowered[key]
    return onnx.load_from_string(data), steps


def float_model(source: Source, options: OnnxOptions) -> tuple[Any, tuple[str, ...]]:
    """Lowers a model to a float32 ModelProto.

    Args:
        source: what to export.
        options: batch, preprocessing, input type, opset.

    Returns:
        (model, steps taken).

    Raises:
        ExportError: tf2onnx refuses the graph, or leaves an operator that is not ONNX.
        MissingDependencyError: tf2onnx, onnx, onnx-ir or onnxscript is not installed.
    """
    try:
        import onnx
        import onnx_ir
        import onnxscript  # noqa: F401  (the passes need it)
        import tf2onnx.convert  # noqa: F401  (with all of its modules, which ordered_sets finds)
    except ImportError as error:
        raise MissingDependencyError(error.name or "tf2onnx", "onnx", "An ONNX export") from None
    traced = trace(source, options, check_io_dtype(options), LOWERING)
    proto = convert_graph(source.name, traced.module.forward, min(options.opset, LAST_OF_TF2ONNX))
    model = onnx_ir.from_proto(proto)
    model.opset_imports.clear()  # tf2onnx names domains that it does not use
    model.opset_imports[""] = options.opset
    from edgevit.formats.onnx.writer.passes import (
        run_passes,  # needs onnx-ir, which TFLite does not
    )

    reports = run_passes(model)
    proto = onnx_ir.to_proto(model)
    make_names_canonical(proto)
    proto.ir_version = onnx.helper.find_min_ir_version_for(list(proto.opset_import))
    proto.producer_name, proto.producer_version = "edgevit", ""
    del proto.metadata_props[:]
    onnx.checker.check_model(proto, full_check=True)
    lowered = f"tf2onnx without its optimizers, opset {options.opset}"
    return proto, (*traced.steps, lowered, *report_lines(reports))


def convert_graph(name: str, function: Any, opset: int) -> Any:
    """A tf.function as an ONNX ModelProto, one operation after the other.

    tf2onnx's own optimizers are left out: its search for Transposes takes most of its time, and the
    passes of this package start from the plain graph.

    Args:
        name: of the model, for messages.
        function: tf.function with an input signature.
        opset: of the result, at most LAST_OF_TF2ONNX.

    Raises:
        ExportError: tf2onnx refuses the graph, or leaves an operator that is not ONNX.
    """
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    try:
        with ordered_sets("tf2onnx"), _without_optimizers():
            model, _ = tf2onnx.convert.from_function(
                function,
                input_signature=function.input_signature,
                opset=opset,
                custom_op_handlers={"Erfc": (erfc_handler, [])},
            )
    except Exception as error:  # tf2onnx raises ValueError, KeyError, AssertionError ...
        text = " ".join(str(error).split())
        raise ExportError(f"{name}: tf2onnx refuses it ({text[:300]}).") from None
    foreign = {
        node.op_type: layer_path(node.name)
        for node in reversed(model.graph.node)
        if node.domain or not onnx.defs.has(node.op_type, opset, "")
    }
    if foreign:
        places = ", ".join(
            f"{kind} (in layer {path})" if path else kind for kind, path in sorted(foreign.items())
        )
        raise ExportError(
            f"{name}: no ONNX form for {places}; onnxruntime would refuse the file. Replace the "
            "layer's operation, or export to savedmodel or tflite-float32."
        )
    return model


def erfc_handler(ctx: Any, node: Any, name: str, args: Any) -> None:
    """tf2onnx handler: erfc(x) = 1 - erf(x)."""
    one = ctx.make_const(f"{name}_one", np.ones((), dtype=np.float32)).output[0]
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    source, result = node.input[0], node.output[0]
    ctx.remove_node(name)
    inner = ctx.make_node("Erf", [source], shapes=[shape], dtypes=[dtype])
    ctx.make_node(
        "Sub", [one, inner.output[0]], name=name, outputs=[result], shapes=[shape], dtypes=[dtype]
    )


@contextlib.contextmanager
def _without_optimizers() -> Iterator[None]:
    """While the context lasts, tf2onnx leaves its graph as it was converted."""
    from tf2onnx import optimizer

    own = optimizer.optimize_graph
    try:
        optimizer.optimize_graph = lambda graph, *args, **options: graph
        yield
    finally:
        optimizer.optimize_graph = own

"""Keras to ONNX: tf2onnx operation by operation, then our own passes; float and 8 bits."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from edgevit.base.errors import ConfigError, ExportError, MissingDependencyError
from edgevit.core.target import Format, Precision, Target
from edgevit.formats.onnx.writer.names import layer_path, make_names_canonical
from edgevit.formats.onnx.writer.ordered_sets import ordered_sets
from edgevit.formats.onnx.writer.quantize import ranges as onnx_ranges
from edgevit.formats.onnx.writer.quantize.dynamic import quantize_dynamic
from edgevit.formats.onnx.writer.quantize.half import to_half
from edgevit.formats.onnx.writer.quantize.static import Ranges, quantize_static
from edgevit.formats.passes import report_lines, run_passes
from edgevit.frontend.lowering import (
    Lowering,
    gelu_textbook,
    layer_norm_textbook,
    matmul_rows,
)
from edgevit.frontend.source import ExportOptions, Source
from edgevit.frontend.trace import check_io_dtype, trace
from edgevit.quantization.observer import Observation, Observer
from edgevit.quantization.ranges import RangeRecord

# The last opset that tf2onnx writes; up to 20 nothing that it writes changes its meaning.
LAST_OF_TF2ONNX = 18
OPSETS = range(17, 21)

LOWERING = Lowering(
    layer_norm_textbook,
    gelu_textbook,
    matmul_rows,
    ("LayerNormalization as sub, pow, mean, sqrt, div", "exact GELU through Erf"),
)

# What becomes of the float32 graph, in place: (model, ranges, optimize) -> lines for the manifest.
PRECISIONS: dict[Precision, Callable[[Any, Ranges, str | None], tuple[str, ...]]] = {
    Precision.FLOAT32: lambda model, ranges, optimize: finish_float(model, optimize),
    Precision.FLOAT16: lambda model, ranges, optimize: to_half(model),
    Precision.DYNAMIC: lambda model, ranges, optimize: quantize_dynamic(model),
    Precision.INT8: lambda model, ranges, optimize: quantize_static(model, ranges),
}


def export_onnx(
    source: Source, target: Target, options: ExportOptions, ranges: RangeRecord | None
) -> tuple[bytes, tuple[str, ...]]:
    """Lowers a model to one ONNX file.

    Args:
        source: what to export.
        target: a row of TARGETS with format onnx.
        options: batch, preprocessing, input type, opset, optimization.
        ranges: of :func:`edgevit.formats.calibration.calibrate`; needed for int8.

    Returns:
        (content, steps taken).

    Raises:
        ExportError: tf2onnx refuses the graph, leaves an operator that is not ONNX, or ranges are
            missing or of another graph.
        MissingDependencyError: tf2onnx or onnx is not installed.
    """
    if target.needs_calibration and ranges is None:
        raise ExportError(f"{target.name} needs activation ranges. Give --calibration PATH.")
    model, steps = _float_model_once(source, options)
    if target.needs_calibration and ranges is not None:
        steps += (f"activation ranges of {ranges.images} images ({ranges.source})",)
    known = ranges.ranges if ranges else {}
    try:
        steps += PRECISIONS[target.precision](model, known, options.optimize)
    except ExportError as error:
        raise ExportError(f"{source.name}: {target.name}: {error}") from None
    import onnx

    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True), steps


def finish_float(model: Any, optimize: str | None = None) -> tuple[str, ...]:
    """Rewrites a float32 ModelProto in place by passes that are of no use to other precisions.

    Args:
        model: of :func:`float_model`.
        optimize: a key of EXTRA_PASSES, whose passes pay on some processors only; None: without
            them.

    Returns:
        Lines for the manifest; none if there was nothing to rewrite.
    """
    import onnx_ir

    from edgevit.formats.onnx.writer.passes.table import EXTRA_PASSES, FLOAT_PASSES

    graph = onnx_ir.from_proto(model)
    reports = run_passes(graph, FLOAT_PASSES + (EXTRA_PASSES[optimize] if optimize else ()))
    model.CopyFrom(onnx_ir.to_proto(graph))
    make_names_canonical(model)
    return report_lines(reports)


def observe_onnx(
    source: Source,
    options: ExportOptions,
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


def _float_model_once(source: Source, options: ExportOptions) -> tuple[Any, tuple[str, ...]]:
    """:func:`float_model`, lowered once for all targets and the calibration. A copy to change."""
    import onnx

    key = (Format.ONNX, options)
    if key not in source.lowered:
        model, steps = float_model(source, options)
        source.lowered[key] = model.SerializeToString(deterministic=True), steps
    data, steps = source.lowered[key]
    return onnx.load_from_string(data), steps


def float_model(source: Source, options: ExportOptions) -> tuple[Any, tuple[str, ...]]:
    """Lowers a model to a float32 ModelProto.

    Args:
        source: what to export.
        options: batch, preprocessing, input type, opset.

    Returns:
        (model, steps taken).

    Raises:
        ConfigError: an opset that is not in OPSETS.
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
    if options.opset not in OPSETS:
        raise ConfigError(
            f"--opset must be one of {', '.join(map(str, OPSETS))} (17 for older runtimes, 20 has "
            f"Gelu). Received: {options.opset}"
        )
    traced = trace(source, options, check_io_dtype(options), LOWERING)
    proto = convert_graph(source.name, traced.module.forward, min(options.opset, LAST_OF_TF2ONNX))
    model = onnx_ir.from_proto(proto)
    model.opset_imports.clear()  # tf2onnx names domains that it does not use
    model.opset_imports[""] = options.opset
    from edgevit.formats.onnx.writer.passes.table import (
        PASSES,  # needs onnx-ir, which TFLite does not
    )

    reports = run_passes(model, PASSES)
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


def embed_onnx(data: bytes, documents: dict[str, str]) -> bytes:
    """The same file with text documents in its metadata."""
    import onnx

    model = onnx.load_from_string(data)
    onnx.helper.set_model_props(model, documents)
    return model.SerializeToString(deterministic=True)


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

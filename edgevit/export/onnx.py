"""Keras to ONNX, through tf2onnx with the handlers that it lacks; float32, float16 and 8 bits."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from edgevit.core.errors import ExportError, MissingDependencyError
from edgevit.core.targets import Format, Precision, Target
from edgevit.export.onnx_passes import run_passes
from edgevit.export.ordered_sets import ordered_sets
from edgevit.export.quantize import onnx_ranges
from edgevit.export.quantize.onnx_dynamic import quantize_dynamic
from edgevit.export.quantize.onnx_half import to_half
from edgevit.export.quantize.onnx_static import Ranges, quantize_static
from edgevit.export.quantize.ranges import RangeRecord, describe_graph
from edgevit.export.source import ExportOptions, Source
from edgevit.export.trace import check_io_dtype, trace

OPSET = 17

# What becomes of the float32 graph, in place: (model, ranges) -> lines for the manifest.
PRECISIONS: dict[Precision, Callable[[Any, Ranges], tuple[str, ...]]] = {
    Precision.FLOAT32: lambda model, ranges: (),
    Precision.FLOAT16: lambda model, ranges: to_half(model),
    Precision.DYNAMIC: lambda model, ranges: quantize_dynamic(model),
    Precision.INT8: quantize_static,
}


def export_onnx(
    source: Source, target: Target, options: ExportOptions, ranges: RangeRecord | None
) -> tuple[bytes, tuple[str, ...]]:
    """Lowers a model to one ONNX file.

    Args:
        source: what to export.
        target: a row of TARGETS with format onnx.
        options: batch, preprocessing, input type.
        ranges: of :func:`calibrate`; needed for int8, ignored otherwise.

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
    try:
        steps += PRECISIONS[target.precision](model, ranges.ranges if ranges else {})
    except ExportError as error:
        raise ExportError(f"{source.name}: {target.name}: {error}") from None
    if target.precision is not Precision.FLOAT32:
        import onnx

        onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True), steps


def calibrate(
    source: Source,
    options: ExportOptions,
    images: np.ndarray,
    origin: str,
    digest: str,
    progress: Callable[[int, int], None] | None = None,
) -> RangeRecord:
    """Measures on raw images what enters and leaves the weighted layers of the ONNX graph.

    Args:
        source: the model.
        options: preprocessing inside or not; the batch is one.
        images: uint8 B H W 3, training images only.
        origin: dataset, for the record.
        digest: of the images.
        progress: called with (images done, images in all).
    """
    options = ExportOptions(batch=1, preprocess=options.preprocess)
    model, _ = _float_model_once(source, options)
    extremes = np.stack([np.full_like(images[0], level) for level in (0, 255)])
    if not options.preprocess:
        images, extremes = (source.preprocess.apply(raw) for raw in (images, extremes))
    return RangeRecord(
        ranges=onnx_ranges.measure(model, images, extremes, progress),
        images=len(images),
        source=origin,
        images_sha256=digest,
        weights_sha256=source.weights_sha256,
        graph=describe_graph(source, options),
    )


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
        options: batch, preprocessing, input type.

    Returns:
        (model, steps taken).

    Raises:
        ExportError: tf2onnx refuses the graph, or leaves an operator that is not ONNX.
        MissingDependencyError: tf2onnx or onnx is not installed.
    """
    try:
        import onnx
        import tf2onnx.convert  # with all of its modules, which ordered_sets must find
    except ImportError as error:
        raise MissingDependencyError(error.name or "tf2onnx", "onnx", "An ONNX export") from None
    traced = trace(source, Format.ONNX, options, check_io_dtype(options))
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    try:
        with ordered_sets("tf2onnx"):
            model, _ = tf2onnx.convert.from_function(
                traced.module.forward,
                input_signature=traced.module.forward.input_signature,
                opset=OPSET,
                custom_op_handlers={"Erfc": (erfc_handler, [])},
            )
    except Exception as error:  # tf2onnx raises ValueError, KeyError, AssertionError ...
        text = " ".join(str(error).split())
        raise ExportError(f"{source.name}: tf2onnx refuses it ({text[:300]}).") from None
    foreign = sorted({node.op_type for node in model.graph.node if node.domain or not _known(node)})
    if foreign:
        raise ExportError(
            f"{source.name}: no ONNX form for {', '.join(foreign)}; onnxruntime would refuse it."
        )
    rewritten = run_passes(model)
    _make_names_canonical(model)
    model.producer_name, model.producer_version = "edgevit", ""
    del model.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    steps = (*traced.steps, f"tf2onnx to opset {OPSET}", *rewritten)
    return model, steps


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


def _known(node: Any) -> bool:
    import onnx

    return onnx.defs.has(node.op_type, OPSET, "")


def _make_names_canonical(model: Any) -> None:
    """Replaces tf2onnx's running numbers, which go on from one export to the next.

    Nodes are called after their Keras layer and operator, values after their node, constants after
    the first node that takes them; inputs and outputs of the graph keep their names.
    """
    graph = model.graph
    kept = {value.name for value in (*graph.input, *graph.output)}
    renamed: dict[str, str] = {"": ""}
    taken: set[str] = set(kept)

    def unique(wanted: str) -> str:
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name)
        return name

    order = sorted(graph.initializer, key=lambda tensor: _first_use(graph, tensor.name))
    for node in graph.node:
        node.name = unique(f"{_layer_path(node.name)}/{node.op_type}".lstrip("/"))
        for number, output in enumerate(node.output):
            if output and output not in kept:
                renamed[output] = f"{node.name}:{number}"
    users: dict[str, str] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, node.name)
    for tensor in order:
        # After its first user: of several equal constants tf2onnx keeps now one, now another.
        renamed[tensor.name] = unique(f"{users.get(tensor.name, 'unused')}/constant")
        tensor.name = renamed[tensor.name]
    for node in graph.node:
        for side in (node.input, node.output):
            for place, name in enumerate(side):
                side[place] = renamed.get(name, name)
    del graph.initializer[:]
    graph.initializer.extend(order)
    del graph.value_info[:]
    graph.name = "edgevit"
    graph.doc_string = ""


def _first_use(graph: Any, name: str) -> int:
    for number, node in enumerate(graph.node):
        if name in node.input:
            return number * 1000 + list(node.input).index(name)
    return len(graph.node) * 1000


def _layer_path(name: str) -> str:
    """The Keras layer's path in a TensorFlow node name, without numbers that run on."""
    parts = [part for part in re.split(r"[/;]", name) if not part.startswith("StatefulPartitioned")]
    parts = [re.sub(r"(__\d+|_\d+)$", "", part.split(":")[0]) for part in parts[:-1]]
    return "/".join(part for part in parts if part)

"""Keras to ONNX: through tf2onnx operation by operation, then through our own passes."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgevit.core.errors import ConfigError, ExportError, MissingDependencyError
from edgevit.core.targets import Format
from edgevit.export.onnx_names import layer_path, make_names_canonical
from edgevit.export.onnx_passes import run_passes
from edgevit.export.ordered_sets import ordered_sets
from edgevit.export.source import ExportOptions, Source
from edgevit.export.trace import check_io_dtype, trace

# The last opset that tf2onnx writes; up to 20 nothing that it writes changes its meaning.
LAST_OF_TF2ONNX = 18
OPSETS = range(17, 21)


def export_onnx(source: Source, options: ExportOptions) -> tuple[bytes, tuple[str, ...]]:
    """Lowers a model to one float32 ONNX file.

    Args:
        source: what to export.
        options: batch, preprocessing, input type, opset.

    Returns:
        (content, steps taken).

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
    traced = trace(source, Format.ONNX, options, check_io_dtype(options))
    proto = convert_graph(source.name, traced.module.forward, min(options.opset, LAST_OF_TF2ONNX))
    model = onnx_ir.from_proto(proto)
    model.opset_imports.clear()  # tf2onnx names domains that it does not use
    model.opset_imports[""] = options.opset
    reports = run_passes(model)
    proto = onnx_ir.to_proto(model)
    make_names_canonical(proto)
    proto.ir_version = onnx.helper.find_min_ir_version_for(list(proto.opset_import))
    proto.producer_name, proto.producer_version = "edgevit", ""
    del proto.metadata_props[:]
    onnx.checker.check_model(proto, full_check=True)
    counts: Counter[str] = Counter()
    for report in reports:
        counts[report.name] += report.count
    steps = [*traced.steps, f"tf2onnx without its optimizers, opset {options.opset}"]
    steps += [f"{name}: {count}" for name, count in counts.items() if count]
    return proto.SerializeToString(deterministic=True), tuple(steps)


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

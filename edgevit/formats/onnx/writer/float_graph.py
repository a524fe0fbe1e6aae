"""Keras to a float32 ONNX graph: tf2onnx operation by operation, then every target's passes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from edgevit.base.errors import ExportError, in_one_line
from edgevit.base.memory import give_back
from edgevit.core.format import Format
from edgevit.formats.layer_names import layer_of_node
from edgevit.formats.onnx.options import OnnxOptions
from edgevit.formats.onnx.writer.names import layer_path
from edgevit.formats.onnx.writer.ordered_sets import ordered_sets
from edgevit.formats.onnx.writer.passes.table import PASSES
from edgevit.formats.onnx.writer.stand_ins import Weights
from edgevit.formats.onnx.writer.uncopied import constants_uncopied, make_model
from edgevit.formats.passes import Pass, report_lines, run_passes
from edgevit.frontend.lowering import (
    Lowering,
    celu_by_exp,
    conv_in_one,
    gelu_textbook,
    layer_norm_textbook,
    matmul_rows,
    resize_by_products,
)
from edgevit.frontend.source import Source
from edgevit.frontend.trace import check_io_dtype, trace
from edgevit.frontend.volumes import conv_in_groups

# The last opset that tf2onnx writes; up to 20 nothing that it writes changes its meaning.
LAST_OF_TF2ONNX = 18
COPIES = "edgevit.copies"  # where a graph remembers names: {copy: output}

LOWERING = Lowering(
    layer_norm_textbook,
    gelu_textbook,
    matmul_rows,
    ("LayerNormalization as sub, pow, mean, sqrt, div", "exact GELU through Erf"),
    functions={
        "image.resize": resize_by_products,
        "nn.celu": celu_by_exp,
        "nn.conv": lambda own: conv_in_groups(conv_in_one(own)),
    },
)


def copy_float_model(
    source: Source, options: OnnxOptions, passes: tuple[Pass[ir.Model], ...] = PASSES
) -> tuple[ir.Model, tuple[str, ...]]:
    """A float32 graph to change, lowered once for all targets and the calibration.

    Copies share their weights. Names are not canonical yet.

    Args:
        source: what to export.
        options: batch, preprocessing, input type, opset.
        passes: that rewrite what tf2onnx wrote.

    Returns:
        (model, steps taken).

    Raises:
        ExportError: tf2onnx refuses the graph, or leaves an operator that is not ONNX.
    """
    key = (Format.ONNX, options, passes)
    if key not in source.lowered:
        source.lowered[key] = _rewrite(*_copy_plain(source, options), passes)
    model, steps = source.lowered[key]
    return _clone(model), steps


def _copy_plain(source: Source, options: OnnxOptions) -> tuple[ir.Model, tuple[str, ...]]:
    """What tf2onnx writes, converted once."""
    key = (Format.ONNX, options)
    if key not in source.lowered:
        source.lowered[key] = plain_model(source, options)
    model, steps = source.lowered[key]
    return _clone(model), steps


def _clone(model: ir.Model) -> ir.Model:
    """A copy with what passes leave for one another; the weights are shared."""
    copy = model.clone()
    copy.meta.update(model.meta)
    return copy


def plain_model(source: Source, options: OnnxOptions) -> tuple[ir.Model, tuple[str, ...]]:
    """The graph that tf2onnx writes, before any pass; see :func:`copy_float_model`."""
    traced = trace(source, options, check_io_dtype(options), LOWERING)
    opset = min(options.opset, LAST_OF_TF2ONNX)
    proto, large = convert_graph(source.name, traced.forward, opset)
    model = ir.from_proto(proto)
    for name, tensor in large.items():
        model.graph.initializers[name].const_value = ir.from_proto(tensor)
    give_back(source.weights_bytes)  # the converter's graph, whose nodes know it and it them
    order_borders(model, traced.inputs, traced.outputs)
    model.opset_imports.clear()  # tf2onnx names domains that it does not use
    model.opset_imports[""] = options.opset
    merge_outputs(model)
    imports = [onnx.helper.make_opsetid("", options.opset)]
    model.ir_version = onnx.helper.find_min_ir_version_for(imports)
    model.producer_name, model.producer_version = "edgevit", ""
    model.metadata_props.clear()
    lowered = f"tf2onnx without its optimizers, opset {options.opset}"
    return model, (*traced.steps, lowered)


def _rewrite(
    model: ir.Model, steps: tuple[str, ...], passes: tuple[Pass[ir.Model], ...]
) -> tuple[ir.Model, tuple[str, ...]]:
    return model, (*steps, *report_lines(run_passes(model, passes)))


def merge_outputs(model: ir.Model) -> None:
    """Lets the graph hand every value out once, and remembers the other names of each.

    Passes take a value with two names for one that is computed twice.
    """
    outputs = list(model.graph.outputs)
    first: dict[ir.Value, str | None] = {}
    copies: dict[str | None, str | None] = {}
    for value in outputs:
        whole = value
        while (maker := whole.producer()) is not None and maker.op_type == "Identity":
            (whole,) = (entry for entry in maker.inputs if entry is not None)
        if whole in first:
            copies[value.name] = first[whole]
        first.setdefault(whole, value.name)
    model.graph.outputs.clear()
    model.graph.outputs.extend(value for value in outputs if value.name not in copies)
    model.meta[COPIES] = copies


def copy_outputs(model: ir.Model, names: Sequence[str]) -> None:
    """Hands values out under all of the names that they had before :func:`merge_outputs`.

    Args:
        model: changed in place.
        names: of all outputs, in the model's order.
    """
    copies = model.meta.get(COPIES, {})
    by_name = {value.name: value for value in model.graph.outputs}
    for name, first in copies.items():
        before = by_name[first]
        after = ir.Value(name=name, shape=before.shape, type=before.type)
        path = layer_of_node(str(getattr(before.producer(), "name", "")))
        node = ir.Node("", "Identity", [before], outputs=[after], name=f"{path}/{name}".lstrip("/"))
        model.graph.append(node)
        model.graph.outputs.append(after)
    if copies:
        order_borders(model, (), tuple(names))


def order_borders(model: ir.Model, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    """Puts inputs and outputs into the model's order; a converter sorts them by name."""
    for names, side in ((inputs, model.graph.inputs), (outputs, model.graph.outputs)):
        by_name = {value.name: value for value in side}
        ordered = [by_name[name] for name in names if name in by_name]
        if len(ordered) == len(side) and ordered != list(side):
            side.clear()
            side.extend(ordered)


def store_captured(model: Any, function: Any) -> None:
    """Stores tensors that a layer holds and that are no variables, such as Normalization's mean.

    tf2onnx makes inputs of them, which nobody could fill.

    Args:
        model: ModelProto; changed in place.
        function: the tf.function that it was made of.
    """
    captured = {
        inner.name: outer
        for outer, inner in function.get_concrete_function().graph.captures
        if outer.dtype.name != "resource"  # a table; what looks it up has no ONNX form
    }
    inputs = list(model.graph.input)
    for value in inputs:
        if value.name in captured:
            array = np.asarray(captured[value.name])
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
            model.graph.input.remove(value)


def convert_graph(name: str, function: Any, opset: int) -> tuple[Any, dict[str, Any]]:
    """A tf.function as an ONNX graph, one operation after the other.

    tf2onnx's own optimizers are left out: its search for Transposes takes most of its time, and the
    passes of this package start from the plain graph.

    Args:
        name: of the model, for messages.
        function: tf.function with an input signature.
        opset: of the result, at most LAST_OF_TF2ONNX.

    Returns:
        A ModelProto, and by name the values of its large constants, which have none there.

    Raises:
        ExportError: tf2onnx refuses the graph, or leaves an operator that is not ONNX.
    """
    import tf2onnx.convert  # noqa: F401  (with all of its modules, which ordered_sets finds)

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    try:
        with ordered_sets("tf2onnx"):
            model, large = _convert_plainly(function.get_concrete_function(), opset)
    except Exception as error:  # tf2onnx raises ValueError, KeyError, AssertionError ...
        text = in_one_line(error)
        raise ExportError(f"{name}: tf2onnx refuses it ({text[:300]}).") from None
    store_captured(model, function)
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
    return model, large


def _convert_plainly(function: Any, opset: int) -> tuple[Any, dict[str, Any]]:
    """What ``tf2onnx.convert.from_function`` does, without its optimizers.

    Returns:
        As :func:`convert_graph`.
    """
    import tensorflow as tf
    from tf2onnx.convert import tensor_names_from_structed
    from tf2onnx.tfonnx import process_tf_graph

    inputs, outputs = (
        [tensor.name for tensor in side if tensor.dtype != tf.dtypes.resource]
        for side in (function.inputs, function.outputs)
    )
    with tf.device("/cpu:0"), constants_uncopied():
        frozen, weights = _freeze(function, inputs, outputs)
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(frozen, name="")
            converted = process_tf_graph(
                graph,
                continue_on_error=True,
                opset=opset,
                custom_op_handlers={"Erfc": (erfc_handler, [])},
                input_names=inputs,
                output_names=outputs,
                tensors_to_rename=tensor_names_from_structed(function, inputs, outputs),
                const_node_values=weights,
            )
            return make_model(converted, f"converted from {function.name}")


def _freeze(
    function: Any, inputs: list[str], outputs: list[str]
) -> tuple[Any, Mapping[str, bytes] | None]:
    """(a frozen graph, what its stand-ins stand for; None: it holds none)."""
    from tf2onnx import tf_loader

    weights = Weights(function)
    if weights:
        with weights.left_out():
            frozen = tf_loader.from_function(function, inputs, outputs)
        if weights.are_untouched(frozen):
            return frozen, weights
    return tf_loader.from_function(function, inputs, outputs), None


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

"""Self-attention whose heads are as wide as a token, without keys, values and TRANSPOSEs.

What is computed instead: :mod:`edgevit.frontend.fold_attention`. It is written before calibration,
so its tensors have ranges and the 8-bit kernels gain as well. It comes behind fold-affine, which
could not fold a norm's gamma and beta into products of two activations. An attention that the file
returns stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevit.formats.passes import Declined, PassReport
from edgevit.formats.tflite.writer.graph import NO_ACTIVATION, TfliteGraph
from edgevit.formats.tflite.writer.passes.channels import activation
from edgevit.formats.tflite.writer.passes.rewriting import rewrite_each
from edgevit.frontend.fold_attention import HEADS_FIRST, HEADS_LAST, AttentionKernels

PRODUCT = "BATCH_MATMUL"


@dataclass(frozen=True)
class Heads:
    """Queries, keys or values: FULLY_CONNECTED, RESHAPE and TRANSPOSE.

    Attributes:
        operators: the three.
        kernel: C K D.
        bias: K D; None without one.
    """

    operators: tuple[Any, ...]
    kernel: np.ndarray
    bias: np.ndarray | None


@dataclass(frozen=True)
class Found:
    """A layer of self-attention.

    Attributes:
        kernels: what it is trained to.
        tokens: the tensor B N C.
        operators: all that go, the last FULLY_CONNECTED at the end.
    """

    kernels: AttentionKernels
    tokens: int
    operators: tuple[Any, ...]


def attend_through_tokens(graph: TfliteGraph) -> PassReport:
    """Rewrites every layer where that is less work; counts layers."""
    return rewrite_each("attend-through-tokens", graph, graph.operators, _rewrite)


def _rewrite(graph: TfliteGraph, operator: Any) -> bool | Declined:
    found = _find(graph, operator) if graph.kind(operator) == "SOFTMAX" else None
    if found is None or isinstance(found, Declined):
        return found or False
    _apply(graph, found)
    return True


def _find(graph: TfliteGraph, softmax: Any) -> Found | Declined | None:
    makers = graph.makers()
    scores = makers.get(int(softmax.inputs[0]))
    if scores is None or graph.kind(scores) != PRODUCT:
        return None
    if graph.is_output(int(softmax.outputs[0])):
        return Declined("the file returns the attention")
    mixed = _sole_reader(graph, softmax)
    if mixed is None:
        return Declined("something inside is read by others")
    if graph.kind(mixed) != PRODUCT:
        return None
    if any(op.builtinOptions.adjX or op.builtinOptions.adjY for op in (scores, mixed)):
        return None
    if softmax.builtinOptions.beta != 1 or int(mixed.inputs[0]) != int(softmax.outputs[0]):
        return None
    places = ((scores, 0, HEADS_FIRST), (scores, 1, HEADS_LAST), (mixed, 1, HEADS_FIRST))
    parts = [_find_heads(graph, makers, int(op.inputs[i]), order) for op, i, order in places]
    queries, keys, values = parts
    if queries is None or keys is None or values is None:
        return None
    tokens = {int(part.operators[0].inputs[0]) for part in (queries, keys, values)}
    if len(tokens) != 1 or not queries.kernel.shape == keys.kernel.shape == values.kernel.shape:
        return Declined("queries, keys and values differ in their tokens or width")
    after = _find_output(graph, mixed)
    if after is None:
        return Declined("no Dense layer behind the heads")
    inner = (scores, softmax, mixed, *after[:-1])
    before = [op for part in (queries, keys, values) for op in part.operators]
    if any(_sole_reader(graph, op) is None for op in (*before, *inner)):
        return Declined("something inside is read by others")
    (source,) = tokens
    shape = graph.shape(source)
    if len(shape) != 3:
        return Declined("its tokens are not B N C")
    _, heads, depth = queries.kernel.shape
    weights, bias = (graph.constant_input(after[-1], place) for place in (1, 2))
    if weights is None or weights.shape[1] != heads * depth:
        return Declined("no Dense layer behind the heads")
    kernels = AttentionKernels(
        queries.kernel,
        keys.kernel,
        values.kernel,
        weights.T.reshape(heads, depth, -1),
        queries.bias,
        values.bias,
        bias,
    )
    if not kernels.pays(shape[1]):
        return Declined("heads are narrower than tokens, which makes the products larger")
    return Found(kernels, source, (*before, *inner, after[-1]))


def _apply(graph: TfliteGraph, found: Found) -> None:
    """The new operators stand where the last FULLY_CONNECTED stood."""
    last = found.operators[-1]
    source, result = found.tokens, int(last.outputs[0])
    folded = found.kernels.fold()
    batch, tokens, channels = graph.shape(source)
    heads = found.kernels.queries.shape[1]
    asked = _tensor(graph, found, "queries", (batch, tokens, heads * channels))
    queries = _tensor(graph, found, "query_rows", (batch, tokens * heads, channels))
    scores = _tensor(graph, found, "scores", (batch, tokens * heads, tokens))
    attention = _tensor(graph, found, "attention", (batch, tokens * heads, tokens))
    mixed = _tensor(graph, found, "mixed_rows", (batch, tokens * heads, channels))
    joined = _tensor(graph, found, "mixed", (batch, tokens, heads * channels))
    products = [([queries, source], scores, True), ([attention, source], mixed, False)]
    first, second = (
        graph.make_operator(PRODUCT, 1, inputs, [output], "BatchMatMulOptions", adjY=turned)
        for inputs, output, turned in products
    )
    written = [
        _dense(graph, source, asked, folded.queries, folded.queries_bias),
        graph.make_reshape(asked, queries, asked),
        first,
        graph.make_operator("SOFTMAX", 1, [scores], [attention], "SoftmaxOptions", beta=1.0),
        second,
        graph.make_reshape(mixed, joined, asked),
        _dense(graph, joined, result, folded.output, folded.output_bias),
    ]
    place = next(i for i, op in enumerate(graph.operators) if op is last)
    gone = {id(op) for op in found.operators}
    operators = [*graph.operators[:place], *written, *graph.operators[place + 1 :]]
    graph.operators = [op for op in operators if id(op) not in gone]


def _tensor(graph: TfliteGraph, found: Found, role: str, shape: tuple[int, ...]) -> int:
    """A new tensor that is called after the layer, alike for every size of a batch.

    Ranges are measured with a batch of one, and found by name in the graphs of other sizes.
    """
    path = graph.name(int(found.operators[0].outputs[0])).split(";")[0].rpartition("/")[0]
    wanted = name = f"{path}/{role}"
    taken, number = {graph.name(tensor) for tensor in range(len(graph.tensors))}, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return graph.add_tensor(name, shape, "float32", free=graph.is_free(found.tokens))


def _dense(
    graph: TfliteGraph, source: int, result: int, kernel: np.ndarray, bias: np.ndarray | None
) -> Any:
    """A FULLY_CONNECTED on the last axis."""
    fields = {
        "fusedActivationFunction": NO_ACTIVATION,
        "keepNumDims": len(graph.shape(result)) == len(graph.shape(source)),
    }
    operator = graph.make_operator(
        "FULLY_CONNECTED", 1, [source, -1, -1], [result], "FullyConnectedOptions", **fields
    )
    graph.give_constant(operator, 1, kernel.T, "kernel")
    if bias is not None:
        graph.give_constant(operator, 2, bias, "bias")
    return operator


def _find_heads(
    graph: TfliteGraph, makers: dict[int, Any], tensor: int, order: tuple[int, ...]
) -> Heads | None:
    """What is behind queries, keys or values."""
    moved = makers.get(tensor)
    if moved is None or graph.kind(moved) != "TRANSPOSE" or _order(graph, moved) != order:
        return None
    step = makers.get(int(moved.inputs[0]))
    if step is None or graph.kind(step) != "RESHAPE":
        return None
    dense = makers.get(int(step.inputs[0]))
    if dense is None or graph.kind(dense) != "FULLY_CONNECTED":
        return None
    shape, weights = graph.shape(int(step.outputs[0])), graph.constant_input(dense, 1)
    if weights is None or activation(dense) != NO_ACTIVATION or len(shape) != 4:
        return None
    heads, depth = shape[2:]
    if weights.shape[0] != heads * depth:
        return None
    bias = graph.constant_input(dense, 2)
    return Heads(
        (dense, step, moved),
        weights.T.reshape(-1, heads, depth),
        None if bias is None else bias.reshape(heads, depth),
    )


def _find_output(graph: TfliteGraph, mixed: Any) -> tuple[Any, Any, Any] | None:
    """TRANSPOSE, RESHAPE and the FULLY_CONNECTED that puts heads together."""
    moved = _sole_reader(graph, mixed)
    step = _sole_reader(graph, moved) if moved is not None else None
    dense = _sole_reader(graph, step) if step is not None else None
    if moved is None or step is None or dense is None:
        return None
    kinds = [graph.kind(op) for op in (moved, step, dense)]
    if kinds != ["TRANSPOSE", "RESHAPE", "FULLY_CONNECTED"]:
        return None
    if _order(graph, moved) != HEADS_FIRST or activation(dense) != NO_ACTIVATION:
        return None
    return moved, step, dense


def _order(graph: TfliteGraph, transpose: Any) -> tuple[int, ...]:
    values = graph.constant_input(transpose, 1)
    return () if values is None else tuple(int(axis) for axis in values)


def _sole_reader(graph: TfliteGraph, operator: Any) -> Any | None:
    """The one operator that reads what another makes; None if others do, or the file returns it."""
    result = int(operator.outputs[0])
    found = [reader for reader, _ in graph.readers(result)]
    return found[0] if len(found) == 1 and not graph.is_output(result) else None

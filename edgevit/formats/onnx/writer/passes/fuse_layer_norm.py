"""LayerNormalization out of its pieces.

Source: ONNX LayerNormalization-17; Ba et al. 2016, "Layer Normalization" (arXiv:1607.06450).

Two spellings, each with or without scale and offset, over any number of last axes:

- textbook: ``d = x - mean(x); d / sqrt(mean(d^2) + eps) * gamma + beta``, the square as Pow or Mul,
  the division as Div, or as Mul by Reciprocal or by 1 / sqrt;
- Keras': ``inv = gamma / sqrt(mean((x - mean(x))^2) + eps); x * inv + (beta - mean(x) * inv)``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir

from edgevit.formats.onnx.writer.graph import (
    add_constant,
    add_node,
    attribute,
    axes_of,
    constant,
    dims,
    made_by,
    maker,
    operand,
    other_operand,
    read_outside,
    readers,
    replace,
    scalar,
    sole_reader,
)
from edgevit.formats.onnx.writer.passes.rewriting import Found, rewrite_pass
from edgevit.formats.passes import Declined


def find_layer_norm(node: ir.Node) -> Found:
    """Starts from the mean of x."""
    x, mean = operand(node, 0), node.outputs[0]
    if not attribute(node, "keepdims", 1):
        return None
    centred = next((use for use in readers(mean) if _is_difference(use, x, mean)), None)
    if centred is None:
        return None
    squares = [square for use in readers(centred.outputs[0]) if (square := _square_of(use))]
    variance = next((use for square in squares for use in readers(square)), None)
    if variance is None or variance.op_type != "ReduceMean":
        return None
    rank = len(dims(x))
    axes = axes_of(node, rank) if rank else None
    if axes is None or axes != axes_of(variance, rank):
        return Declined("mean and variance are not over the same known axes")
    if axes != tuple(range(axes[0], rank)):
        return Declined(f"normalises axes {axes} of {rank}, not the last ones")
    if None in dims(x)[axes[0] :]:
        return Declined("the length of a normalised axis is not fixed")
    padded = sole_reader(variance.outputs[0])
    epsilon = _other_scalar(padded, variance.outputs[0]) if padded else None
    if padded is None or padded.op_type != "Add" or epsilon is None:
        return Declined("no constant is added to the variance")
    root = sole_reader(padded.outputs[0])
    if root is None or root.op_type != "Sqrt":
        return Declined("the variance has no square root")
    norm_shape = tuple(length or 0 for length in dims(x)[axes[0] :])
    found = _read_textbook(centred.outputs[0], root.outputs[0])
    if found is None:
        found = _read_keras(x, mean, root.outputs[0])
    if found is None:
        return Declined("no known way from the square root to the result")
    result, factors, beta = found
    gamma = np.ones(norm_shape, np.float32)
    for factor in factors:
        read = _over_axes(factor, rank, axes[0], norm_shape)
        if read is None:
            return Declined("the scale varies over axes that are not normalised")
        gamma = gamma * read
    offset = None if beta is None else _over_axes(beta, rank, axes[0], norm_shape)
    if beta is not None and offset is None:
        return Declined("the offset varies over axes that are not normalised")
    outside = read_outside(x, result)
    if outside:
        return Declined(f"something else reads {outside} inside it")
    attributes = {"axis": axes[0] - rank, "epsilon": epsilon}
    return partial(_fuse, x, attributes, gamma, offset, result)


def _fuse(
    x: ir.Value,
    attributes: dict[str, Any],
    gamma: np.ndarray,
    beta: np.ndarray | None,
    result: ir.Value,
) -> None:
    """One node instead of six to eleven."""
    last = maker(result)
    inputs = [x, add_constant(last, gamma.astype(np.float32), "scale")]
    if beta is not None:
        inputs.append(add_constant(last, beta.astype(np.float32), "offset"))
    replace(result, add_node(last, "LayerNormalization", inputs, dims(x), attributes))


def _is_difference(node: ir.Node, x: ir.Value, mean: ir.Value) -> bool:
    return node.op_type == "Sub" and node.inputs[0] is x and node.inputs[1] is mean


def _square_of(node: ir.Node) -> ir.Value | None:
    """The output of a node that squares its first input."""
    power = node.op_type == "Pow" and scalar(node.inputs[1]) == 2.0
    product = node.op_type == "Mul" and node.inputs[0] is node.inputs[1]
    return node.outputs[0] if power or product else None


def _other_scalar(node: ir.Node, value: ir.Value) -> float | None:
    return scalar(other_operand(node, value)) if len(node.inputs) == 2 else None


def _inverse_of(root: ir.Value) -> ir.Value | None:
    """1 / root, where a node computes it."""
    for node in readers(root):
        one = node.op_type == "Div" and node.inputs[1] is root and scalar(node.inputs[0]) == 1.0
        if node.op_type == "Reciprocal" or one:
            return node.outputs[0]
    return None


def _read_textbook(
    centred: ir.Value, root: ir.Value
) -> tuple[ir.Value, list[np.ndarray], np.ndarray | None] | None:
    """(result, factors, offset)."""
    inverse = _inverse_of(root)
    for node in readers(centred):
        divides = node.op_type == "Div" and node.inputs[0] is centred and node.inputs[1] is root
        scales = node.op_type == "Mul" and inverse is not None and inverse in node.inputs
        if divides or scales:
            return _read_affine(node.outputs[0])
    # gamma first: d * (gamma / root)
    if inverse is not None:
        step = sole_reader(inverse)
        gamma = constant(other_operand(step, inverse)) if step and step.op_type == "Mul" else None
        if step is not None and gamma is not None:
            for node in readers(centred):
                if node.op_type == "Mul" and step.outputs[0] in node.inputs:
                    result, factors, beta = _read_affine(node.outputs[0])
                    return result, [gamma, *factors], beta
    return None


def _read_affine(value: ir.Value) -> tuple[ir.Value, list[np.ndarray], np.ndarray | None]:
    """What scale and offset by constants follow a value."""
    factors: list[np.ndarray] = []
    step = sole_reader(value)
    if step is not None and step.op_type == "Mul":
        factor = constant(other_operand(step, value))
        if factor is not None and len(dims(step.outputs[0])) == len(dims(value)):
            factors, value = [factor], step.outputs[0]
            step = sole_reader(value)
    if step is not None and step.op_type == "Add":
        offset = constant(other_operand(step, value))
        if offset is not None and dims(step.outputs[0]) == dims(value):
            return step.outputs[0], factors, offset
    return value, factors, None


def _read_keras(
    x: ir.Value, mean: ir.Value, root: ir.Value
) -> tuple[ir.Value, list[np.ndarray], np.ndarray | None] | None:
    """(result, factors, offset) of ``x * inv + (beta - mean * inv)``."""
    inverse = _inverse_of(root)
    if inverse is None:
        return None
    factors: list[np.ndarray] = []
    step = sole_reader(inverse)
    if step is not None and step.op_type == "Mul":
        gamma = constant(other_operand(step, inverse))
        if gamma is not None:
            factors, inverse = [gamma], step.outputs[0]
    scaled = next((use for use in readers(x) if _multiplies(use, x, inverse)), None)
    if scaled is None:
        return None
    last = sole_reader(scaled.outputs[0])
    if last is None or last.op_type not in ("Add", "Sub"):
        return None
    rest = other_operand(last, scaled.outputs[0])
    beta = None
    if last.op_type == "Sub":  # x * inv - mean * inv
        product, sign = rest, -1
    else:
        node = made_by(rest, "Sub", "Add")
        if node is not None and node.op_type == "Sub":  # beta - mean * inv
            beta, product, sign = constant(node.inputs[0]), node.inputs[1], -1
        elif node is not None:  # -mean * inv + beta
            place = 0 if constant(node.inputs[0]) is not None else 1
            beta, product, sign = constant(node.inputs[place]), node.inputs[1 - place], 1
        else:
            product, sign = rest, 1
        if node is not None and beta is None:
            return None
    if not _is_mean_times(product, mean, inverse, sign):
        return None
    return last.outputs[0], factors, beta


def _multiplies(node: ir.Node, one: ir.Value, other: ir.Value) -> bool:
    pairs = ((one, other), (other, one))
    return node.op_type == "Mul" and tuple(node.inputs) in pairs


def _is_mean_times(value: ir.Value | None, mean: ir.Value, inverse: ir.Value, sign: int) -> bool:
    """Whether a value is mean * inverse (sign -1: it is subtracted) or the negative of that."""
    if sign > 0:
        negated = made_by(value, "Neg")
        if negated is not None:
            return _is_mean_times(negated.inputs[0], mean, inverse, -1)
        node = made_by(value, "Mul")
        if node is None:
            return False
        negatives = [made_by(part, "Neg") for part in node.inputs]
        for place, negative in enumerate(negatives):
            other = node.inputs[1 - place]
            if negative is not None and {id(negative.inputs[0]), id(other)} == {
                id(mean),
                id(inverse),
            }:
                return True
        return False
    node = made_by(value, "Mul")
    return node is not None and _multiplies(node, mean, inverse)


def _over_axes(
    array: np.ndarray, rank: int, axis: int, shape: tuple[int, ...]
) -> np.ndarray | None:
    """A constant that broadcasts over x, as an array of the normalised axes; None if it is not."""
    full = array.reshape((1,) * (rank - array.ndim) + array.shape)
    if any(length != 1 for length in full.shape[:axis]):
        return None
    try:
        return np.broadcast_to(full.reshape(full.shape[axis:]), shape).astype(np.float64)
    except ValueError:
        return None


fuse_layer_norm = rewrite_pass(
    "fuse_layer_norm",
    "LayerNormalization out of its pieces",
    ("ReduceMean",),
    find_layer_norm,
    opset=17,
)

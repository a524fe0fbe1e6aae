"""Keeps onnxruntime from changing what a padded max pooling computes.

A Pad with zeros before a MaxPool lets a zero win in windows whose values are all negative. From its
basic level on, onnxruntime moves such a Pad into the MaxPool's own ``pads`` (its pad fusion,
microsoft/onnxruntime pull request 18136), whose padding never wins: ONNX pads MaxPool with minus
infinity. The result differs wherever a border window is all negative.

The rewrite says the same in a form that no fusion touches: the MaxPool pads by itself, and a Max
with a constant lets the padded value win in just the windows that reach the padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LOWEST = np.finfo(np.float32).min


def split_padded_max_pool(model: Any) -> int:
    """Rewrites every ``Pad -> MaxPool`` of a constant; see the module.

    Args:
        model: ONNX ModelProto; changed in place.

    Returns:
        How many were rewritten. Left alone: pads of other axes than the two of space, negative or
        not smaller than the window (ONNX would refuse them in a MaxPool), of another mode than
        constant, read by others too, or of a size that is not known.
    """
    import onnx

    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    shapes = _shapes(onnx.shape_inference.infer_shapes(model).graph)
    count = 0
    for place, pool in reversed(list(enumerate(graph.node))):
        pad = producers.get(pool.input[0]) if pool.op_type == "MaxPool" else None
        if pad is None or pad.op_type != "Pad" or readers[pad.output[0]] != 1:
            continue
        found = _read_pad(pad, constants)
        size = [length for length in shapes.get(pad.input[0], ())[2:] if length is not None]
        if found is None or len(size) != 2 or len(pool.output) > 1:
            continue
        pads, value = found
        window = _read_window(pool)
        if window is None:
            continue
        kernel, strides, dilations, own = window
        total = [a + b for a, b in zip(pads, own, strict=True)]
        if any(total[axis] >= kernel[axis % 2] for axis in range(4)):
            continue
        touched = [
            _touches(size[axis], kernel[axis], strides[axis], dilations[axis], pads, own, axis)
            for axis in (0, 1)
        ]
        mask = np.where(touched[0][:, None] | touched[1][None, :], value, LOWEST)
        pooled, name = f"{pool.output[0]}/pooled", f"{pool.output[0]}/padding"
        tensor = onnx.numpy_helper.from_array(mask[None, None].astype(np.float32), name)
        graph.initializer.append(tensor)
        last = onnx.helper.make_node(
            "Max", [pooled, name], [pool.output[0]], name=f"{pool.name}/padding"
        )
        pool.input[0] = pad.input[0]
        pool.output[0] = pooled
        _set_pads(pool, total)
        graph.node.insert(place + 1, last)
        graph.node.remove(pad)
        count += 1
    return count


def _shapes(graph: Any) -> dict[str, tuple[int | None, ...]]:
    values = (*graph.input, *graph.value_info, *graph.output)
    return {
        value.name: tuple(
            part.dim_value if part.HasField("dim_value") else None
            for part in value.type.tensor_type.shape.dim
        )
        for value in values
    }


def _read_pad(pad: Any, constants: dict[str, np.ndarray]) -> tuple[list[int], float] | None:
    """([top, left, bottom, right], value) of a constant Pad of B C H W; None for any other."""
    mode = next((item.s for item in pad.attribute if item.name == "mode"), b"constant")
    names = [*pad.input, "", ""][:4]  # data, pads, value, axes
    pads = constants.get(names[1])
    if mode != b"constant" or pads is None or len(pads) != 8 or len(pad.input) > 3:
        return None
    value = constants.get(names[2]) if names[2] else np.float32(0)
    if value is None or pads.min() < 0 or any(pads[[0, 1, 4, 5]]):
        return None
    return [int(pads[index]) for index in (2, 3, 6, 7)], float(value)


def _read_window(
    pool: Any,
) -> tuple[list[int], list[int], list[int], list[int]] | None:
    """(kernel, strides, dilations, pads) of a two-dimensional MaxPool that rounds down."""
    found = {item.name: item for item in pool.attribute}

    def whole(name: str, default: list[int]) -> list[int]:
        return [int(value) for value in found[name].ints] if name in found else default

    automatic = found["auto_pad"].s if "auto_pad" in found else b"NOTSET"
    rounds_up = "ceil_mode" in found and found["ceil_mode"].i
    kernel = whole("kernel_shape", [])
    if len(kernel) != 2 or automatic not in (b"NOTSET", b"VALID") or rounds_up:
        return None
    return kernel, whole("strides", [1, 1]), whole("dilations", [1, 1]), whole("pads", [0] * 4)


def _touches(
    length: int, kernel: int, stride: int, dilation: int, pads: list[int], own: list[int], axis: int
) -> np.ndarray:
    """For each window along an axis: whether it reaches the explicit padding. bool windows."""
    before, after = pads[axis], pads[axis + 2]
    reach = dilation * (kernel - 1)
    span = length + before + after + own[axis] + own[axis + 2]
    starts = np.arange((span - reach - 1) // stride + 1) * stride - before - own[axis]
    places = starts[:, None] + dilation * np.arange(kernel)  # windows kernel
    inside_before = (places >= -before) & (places < 0)
    inside_after = (places >= length) & (places < length + after)
    return np.any(inside_before | inside_after, axis=1)


def _set_pads(pool: Any, pads: list[int]) -> None:
    import onnx

    kept = [item for item in pool.attribute if item.name not in ("pads", "auto_pad")]
    del pool.attribute[:]
    pool.attribute.extend([*kept, onnx.helper.make_attribute("pads", pads)])

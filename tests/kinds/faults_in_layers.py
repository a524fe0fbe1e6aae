"""Plants faults into real exported files: the stored numbers of one layer, drawn by a seed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.core.layer_errors import rank_layers
from edgevit.formats.layer_names import layer_of_node
from edgevit.formats.registry import find_target, open_intermediate
from edgevit.formats.tflite.runtime.file import is_constant, pack_model, parse_model, tensor_type
from edgevit.formats.tflite.runtime.nodes import read_nodes
from edgevit.frontend.record_layers import record_layers
from edgevit.verification.layer_diff import compare_layers

PRODUCTS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
ZERO_POINT_SHIFT = 16  # levels of 256


@dataclass
class Site:
    """The stored numbers of one weighted layer, to be changed in place.

    Attributes:
        layer: path of the Keras layer.
        levels: weights as they are stored, output channels first.
        scales: of the levels, one for each channel; None for floats.
        bias: as it is stored; None where there is none.
        bias_scales: likewise.
        zero_point: of what enters, as the layer reads it; None where the file has no such number.
        input_axis: of the levels.
    """

    layer: str
    levels: np.ndarray
    scales: np.ndarray | None
    bias: np.ndarray | None
    bias_scales: np.ndarray | None
    zero_point: np.ndarray | None = None
    input_axis: int = -1


def double_scale(site: Site, rng: np.random.Generator) -> None:
    """The whole layer answers twice as much."""
    for scale in (site.scales, site.bias_scales):
        if scale is not None:
            scale *= 2
    if site.scales is None:
        site.levels *= 2
        if site.bias is not None:
            site.bias *= 2


def zero_channel(site: Site, rng: np.random.Generator) -> None:
    """The weights of one output channel are lost."""
    site.levels[rng.integers(len(site.levels))] = 0


def scale_channel(site: Site, rng: np.random.Generator, factor: float) -> None:
    """One channel answers more than it should."""
    channel = rng.integers(len(site.levels))
    pairs = ((site.levels, site.scales), (site.bias, site.bias_scales))
    for values, scales in pairs:
        if values is None:
            continue
        if scales is not None and len(scales) > 1:
            scales[channel] *= factor
        elif scales is None:
            values[channel] *= factor
        else:
            ends = np.iinfo(values.dtype)
            values[channel] = np.clip(np.rint(values[channel] * factor), ends.min, ends.max)


def swap_channels(site: Site, rng: np.random.Generator) -> None:
    """Two channels take each other's place."""
    first, second = rng.choice(len(site.levels), 2, replace=False)
    for array in (site.levels, site.scales, site.bias, site.bias_scales):
        if array is not None and len(array) == len(site.levels):
            array[[first, second]] = array[[second, first]]


def zero_bytes(site: Site, rng: np.random.Generator) -> None:
    """256 bytes of the weights are zero, as after a lost block of a disk."""
    raw = np.ascontiguousarray(site.levels).view(np.uint8).reshape(-1)
    start = rng.integers(max(1, len(raw) - 256))
    raw[start : start + 256] = 0
    site.levels[...] = raw.view(site.levels.dtype).reshape(site.levels.shape)


def reverse_colours(site: Site, rng: np.random.Generator) -> None:
    """Red is read as blue."""
    site.levels[...] = np.flip(site.levels, site.input_axis).copy()


def shift_bias(site: Site, rng: np.random.Generator) -> None:
    """What enters is read with another zero point: in TFLite its share is in the bias."""
    assert site.bias is not None
    sums = site.levels.astype(np.int64).reshape(len(site.levels), -1).sum(axis=1)
    site.bias[...] = site.bias + ZERO_POINT_SHIFT * sums


def reverse_channels(site: Site, rng: np.random.Generator) -> None:
    """The output channels come in the wrong order."""
    for array in (site.levels, site.scales, site.bias, site.bias_scales):
        if array is not None and len(array) == len(site.levels):
            array[...] = array[::-1].copy()


def lose_bias(site: Site, rng: np.random.Generator) -> None:
    """The bias is zero."""
    assert site.bias is not None
    site.bias[...] = 0


def shift_zero_point(site: Site, rng: np.random.Generator) -> None:
    """What enters is read with another zero point than it was written with."""
    assert site.zero_point is not None
    middle = int(site.zero_point)
    site.zero_point[...] = middle - ZERO_POINT_SHIFT if middle > 127 else middle + ZERO_POINT_SHIFT


# (kind, what a site must have, how it is planted)
KINDS: tuple[tuple[str, Callable[[Site], bool], Callable[[Site, np.random.Generator], None]], ...]
KINDS = (
    ("scale doubled", lambda site: True, double_scale),
    ("channel zeroed", lambda site: True, zero_channel),
    ("channel order reversed", lambda site: True, reverse_channels),
    ("bias lost", lambda site: site.bias is not None and bool(np.any(site.bias)), lose_bias),
)
# Faults of one channel or one number, for benchmarks/planted_faults.py.
FINE_KINDS = (
    ("channel x1.05", lambda site: True, partial(scale_channel, factor=1.05)),
    ("channel x1.5", lambda site: True, partial(scale_channel, factor=1.5)),
    ("channel zeroed", lambda site: True, zero_channel),
    ("two channels swapped", lambda site: len(site.levels) > 1, swap_channels),
    ("256 bytes zeroed", lambda site: site.levels.nbytes > 256, zero_bytes),
    (
        "red read as blue",
        lambda site: site.levels.ndim == 4 and site.levels.shape[site.input_axis] == 3,
        reverse_colours,
    ),
    (
        "wrong zero point",
        lambda site: site.zero_point is not None or _folds_zero_point(site),
        lambda site, rng: (shift_bias if site.zero_point is None else shift_zero_point)(site, rng),
    ),
)


def _folds_zero_point(site: Site) -> bool:
    integers = site.bias is not None and site.bias.dtype == np.int32
    return integers and site.levels.dtype == np.int8 and site.bias_scales is not None


# A file that stores how each layer reads its input has a fault of its own.
ONNX_KINDS = (
    *KINDS[:3],
    ("wrong zero point", lambda site: site.zero_point is not None, shift_zero_point),
)


def plant_tflite(data: bytes, choose: Callable[[list[Site]], None]) -> bytes:
    """A .tflite file with one of its sites changed.

    Args:
        data: the file.
        choose: changes one of the sites in place.
    """
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "file.tflite"
        path.write_bytes(data)
        nodes = read_nodes(path)
    model = parse_model(data, "file")
    graph = model.subgraphs[0]
    sites, writers = [], []
    widened = {  # float16 constants by what their operators read
        operator.outputs[0]: operator.inputs[0]
        for operator, node in zip(graph.operators, nodes, strict=True)
        if node.op == "DEQUANTIZE" and is_constant(model, graph.tensors[operator.inputs[0]])
    }
    for operator, node in zip(graph.operators, nodes, strict=True):
        if node.op not in PRODUCTS or not node.layer:
            continue
        weights = graph.tensors[widened.get(operator.inputs[1], operator.inputs[1])]
        if not is_constant(model, weights):
            continue
        axis = 3 if node.op == "DEPTHWISE_CONV_2D" else 0
        levels, write = _tflite_array(model, weights, axis)
        bias, write_bias, bias_tensor = None, None, None
        if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
            bias_tensor = graph.tensors[widened.get(operator.inputs[2], operator.inputs[2])]
            bias, write_bias = _tflite_array(model, bias_tensor, 0)
        sites.append(
            Site(node.layer, levels, _tflite_scales(weights), bias, _tflite_scales(bias_tensor))
        )
        writers += [write, *([write_bias] if write_bias else [])]
    choose(sites)
    for write in writers:
        write()
    return pack_model(model)


def _tflite_array(model: Any, tensor: Any, axis: int) -> tuple[np.ndarray, Callable[[], None]]:
    """(a constant's values, the given axis first, to be changed; what writes them back)."""
    buffer = model.buffers[tensor.buffer]
    kind = np.dtype(tensor_type(tensor))
    raw = np.asarray(buffer.data, np.uint8).tobytes()
    values = np.moveaxis(np.frombuffer(raw, kind).reshape(tensor.shape).copy(), axis, 0)

    def write() -> None:
        ordered = np.ascontiguousarray(np.moveaxis(values, 0, axis))
        buffer.data = np.frombuffer(ordered.tobytes(), np.uint8)

    return values, write


def _tflite_scales(tensor: Any) -> np.ndarray | None:
    if tensor is None or tensor.quantization is None or tensor.quantization.scale is None:
        return None
    tensor.quantization.scale = np.array(tensor.quantization.scale, np.float32)
    return tensor.quantization.scale


def plant_onnx(data: bytes, choose: Callable[[list[Site]], None]) -> bytes:
    """An .onnx file with one of its sites changed; see :func:`plant_tflite`."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(data)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    made = {name: node for node in model.graph.node for name in node.output}
    kept: dict[str, np.ndarray] = {}

    def read(name: str) -> np.ndarray:
        return kept.setdefault(name, numpy_helper.to_array(constants[name]).copy())

    sites = []
    for node in model.graph.node:
        if node.op_type not in ("Gemm", "MatMul", "Conv"):
            continue
        stored = [_stored(made.get(name), name, constants) for name in node.input]
        if len(stored) < 2 or stored[1] is None:
            continue
        axis = 0 if node.op_type == "Conv" else -1
        weights, scales = stored[1]
        bias = stored[2] if len(stored) > 2 else None
        zero = None
        entering = made.get(node.input[0])
        if entering is not None and entering.op_type == "DequantizeLinear":
            zero = _own_constant(model, constants, entering, 2)
        sites.append(
            Site(
                layer_of_node(node.name),
                np.moveaxis(read(weights), axis, 0),
                read(scales) if scales else None,
                read(bias[0]) if bias else None,
                read(bias[1]) if bias and bias[1] else None,
                read(zero) if zero else None,
                input_axis=1 if axis == 0 else 0,
            )
        )
    choose(sites)
    for name, values in kept.items():
        constants[name].CopyFrom(numpy_helper.from_array(values, name))
    return model.SerializeToString()


def _stored(node: Any, name: str, constants: dict[str, Any]) -> tuple[str, str] | None:
    """(the constant behind an input, its scale or ""); None where it is computed."""
    if name in constants:
        return name, ""
    if node is not None and node.op_type == "DequantizeLinear" and node.input[0] in constants:
        return node.input[0], node.input[1]
    return None


def _own_constant(model: Any, constants: dict[str, Any], node: Any, place: int) -> str:
    """Name of a constant that only this node reads: a copy of the one that it shares."""
    tensor = model.graph.initializer.add()
    tensor.CopyFrom(constants[node.input[place]])
    tensor.name = f"{node.name}/own"
    node.input[place] = tensor.name
    constants[tensor.name] = tensor
    return tensor.name


PLANTERS: dict[str, Callable[[bytes, Callable[[list[Site]], None]], bytes]] = {
    ".tflite": plant_tflite,
    ".onnx": plant_onnx,
}


def kinds_of(target: str) -> tuple:
    """The four kinds of faults for a target."""
    return ONNX_KINDS if target == "onnx-int8" else KINDS


def plant(path: Path, out: Path, number: int, kinds: tuple, seed: int) -> tuple[str, str]:
    """Plants one fault.

    Args:
        path: a sound file.
        out: where the faulty one goes; its seal is broken on purpose.
        number: of the fault; decides its kind and, with the seed, its place.
        kinds: of :func:`kinds_of`.
        seed: of all faults.

    Returns:
        (kind, path of the damaged layer).
    """
    kind, allowed, change = kinds[number % len(kinds)]
    rng = np.random.default_rng((seed, number))
    places: list[str] = []

    def choose(sites: list[Site]) -> None:
        fitting = [site for site in sites if allowed(site)]
        if not fitting:
            raise ValueError(f"{path.name} has no place for: {kind}")
        site = fitting[rng.integers(len(fitting))]
        change(site, rng)
        places.append(site.layer)

    out.write_bytes(PLANTERS[path.suffix](path.read_bytes(), choose))
    return kind, places[0]


def rank_of(layer: str, source: Any, path: Path, target: str, images: np.ndarray) -> dict:
    """What the comparison says of a file; the rank of a layer in it, None where it has no row."""
    network, precision = record_layers(source, images), find_target(target).precision
    with open_intermediate(path) as reader:
        rows, unaligned, _ = compare_layers(network, reader, precision, images, lambda line: None)
    ranked = rank_layers(rows)
    # A row speaks for its step of several layers, and for layers in front that have no tensor.
    places: dict[str, int] = {}
    for place, row in enumerate(ranked):
        for name in (row.layer, row.last, *row.within):
            places.setdefault(name, place)
    while layer and layer not in places:  # the file's names go on inside of a layer
        layer = layer.rpartition("/")[0]
    return {
        "rank": places[layer] + 1 if layer else None,
        "first": ranked[0].layer,
        "first_db": ranked[0].excess_db,
        "next_db": ranked[1].excess_db if len(ranked) > 1 else None,
        "compared": len(rows),
        "unaligned": len(unaligned),
    }

"""Does edgevit diff name the layer that is wrong? Faults planted into real exported files.

    python benchmarks/planted_faults.py shiftvit --faults 20 --json planted_faults.json
    python benchmarks/planted_faults.py runs/vit --targets tflite-int8 --data cifar10.tar.gz

Each fault damages the stored numbers of one layer, drawn by a seed among all weighted layers of the
file, in turn of one kind after the other. Then every layer is held against the float model on
golden images, and the rank of the damaged layer is noted: 1 is right, whatever comes after. The
sound file is compared too: how suspicious does its worst layer look? "harm" is how much the fault
moves the file's own logits (root mean square, over their standard deviation): a lost channel that
hardly answered, or a small bias, does next to nothing, and nothing can show it. All faults count,
whatever their harm. Not a measurement of time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np

from edgevit.base.documents import to_json
from edgevit.core.golden_images import draw_images
from edgevit.core.layer_errors import SUSPECT_DB, rank_layers
from edgevit.core.target import find_target
from edgevit.formats.layer_names import layer_of_node
from edgevit.formats.registry import load_session, open_tap
from edgevit.formats.tflite.runtime.file import is_constant, pack_model, parse_model, tensor_type
from edgevit.formats.tflite.runtime.nodes import read_nodes
from edgevit.frontend.opening import open_source
from edgevit.verbs.diff import compare_layers
from edgevit.verbs.export import export_all
from edgevit.verification.parity import find_output

TARGETS = ("tflite-int8", "onnx-int8", "tflite-mixed", "tflite-float32")
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
    """

    layer: str
    levels: np.ndarray
    scales: np.ndarray | None
    bias: np.ndarray | None
    bias_scales: np.ndarray | None
    zero_point: np.ndarray | None = None


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
    for operator, node in zip(graph.operators, nodes, strict=True):
        if node.op not in PRODUCTS or not node.layer:
            continue
        weights = graph.tensors[operator.inputs[1]]
        if not is_constant(model, weights):
            continue
        axis = 3 if node.op == "DEPTHWISE_CONV_2D" else 0
        levels, write = _tflite_array(model, weights, axis)
        bias, write_bias, bias_tensor = None, None, None
        if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
            bias_tensor = graph.tensors[operator.inputs[2]]
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
        site = fitting[rng.integers(len(fitting))]
        change(site, rng)
        places.append(site.layer)

    out.write_bytes(PLANTERS[path.suffix](path.read_bytes(), choose))
    return kind, places[0]


def rank_of(layer: str, source: Any, path: Path, target: str, images: np.ndarray) -> dict:
    """What the comparison says of a file; the rank of a layer in it, None where it has no row."""
    with open_tap(path) as tap:
        rows, unaligned, _ = compare_layers(
            source, tap, find_target(target).precision, images, lambda line: None
        )
    ranked = rank_layers(rows)
    order = [row.layer for row in ranked]
    while layer and layer not in order:  # the file's names go on inside of a layer
        layer = layer.rpartition("/")[0]
    return {
        "rank": order.index(layer) + 1 if layer in order else None,
        "first": order[0],
        "first_db": ranked[0].excess_db,
        "next_db": ranked[1].excess_db,
        "compared": len(rows),
        "unaligned": len(unaligned),
    }


def answer_of(path: Path, images: np.ndarray) -> np.ndarray:
    """A file's logits, damaged or not. float32 B classes."""
    with load_session(path) as session:
        return find_output(session.run(images), "logits", session)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="shiftvit", help="as for edgevit export")
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--faults", type=int, default=20, help="in each file")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--exports", type=Path, help="take the files from there, if they are there")
    parser.add_argument("--data", help="calibrate with it where no ranges ship with the weights")
    parser.add_argument("--json", type=Path, help="write every fault there")
    options = parser.parse_args()
    source = open_source(options.model)
    images = draw_images(options.images, source.preprocess.input_size)
    results = {}
    with tempfile.TemporaryDirectory() as place:
        folder = options.exports or Path(place)
        for target in options.targets.split(","):
            path = folder / find_target(target).file_name(source.name)
            if not path.exists():
                export_all(options.model, target, folder, calibration=options.data)
            results[target] = try_target(source, path, target, images, options, Path(place))
    print(f"\n{'target':16} {'right first':>12}  by kind; the sound file's worst layer")
    for target, result in results.items():
        faults, sound = result["faults"], result["sound"]
        right = sum(row["rank"] == 1 for row in faults)
        kinds = dict.fromkeys(row["kind"] for row in faults)
        shares = ", ".join(f"{kind} {_share(faults, kind)}" for kind in kinds)
        print(
            f"{target:16} {right:5} of {len(faults):3}  {shares}; "
            f"{sound['first']} {sound['first_db']:+.1f} dB"
        )
    if options.json:
        document = {
            "model": source.name,
            "weights_sha256": source.weights_sha256,
            "images": options.images,
            "seed": options.seed,
            "suspect_db": SUSPECT_DB,
            "targets": results,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(to_json(document, indent=1) + "\n")


def _share(faults: list[dict], kind: str) -> str:
    rows = [row for row in faults if row["kind"] == kind]
    return f"{sum(row['rank'] == 1 for row in rows)}/{len(rows)}"


def try_target(source, path: Path, target: str, images, options, place: Path) -> dict:
    """All faults of one file."""
    sound = rank_of("", source, path, target, images)
    print(f"{target}: sound: worst {sound['first']} {sound['first_db']:+.1f} dB", flush=True)
    faults = []
    logits = answer_of(path, images)
    faulty = place / f"faulty{path.suffix}"
    for number in range(options.faults):
        started = time.perf_counter()
        kind, layer = plant(path, faulty, number, kinds_of(target), options.seed)
        harm = float(np.sqrt(np.mean((answer_of(faulty, images) - logits) ** 2)) / logits.std())
        found = rank_of(layer, source, faulty, target, images)
        row = {"kind": kind, "layer": layer, "harm": harm, **found}
        faults.append(row)
        print(
            f"{target:15} {kind:22} {layer:32} rank {row['rank']!s:>4} "
            f"harm {harm:6.3f} "
            f"first {row['first_db']:+6.1f} next {row['next_db']:+6.1f} dB "
            f"{time.perf_counter() - started:5.1f} s"
            + ("" if row["rank"] == 1 else f"  first: {row['first']}"),
            flush=True,
        )
    return {"sound": sound, "faults": faults}


if __name__ == "__main__":
    main()

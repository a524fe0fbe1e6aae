"""The layers of an exported file against those of the float model, on the same images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np

from edgevit.base.errors import ModelFileError
from edgevit.base.progress import Progress, Status
from edgevit.core.layer_errors import PREPROCESSING, FloatNetwork, LayerError, Role, Unaligned
from edgevit.core.samples import Inputs, count_samples, take_samples
from edgevit.core.target import Precision
from edgevit.formats.intermediate import IntermediateReader, IntermediateTensor
from edgevit.verification.align_layers import Alignment, align_layers
from edgevit.verification.layer_errors import LayerSums, summarise
from edgevit.verification.rewritten_layers import list_rewritten
from edgevit.verification.rounding_noise import MOVES, ProductNoise

CHUNK = 8  # images whose intermediate tensors are in memory at a time
# Of small images more, as far as so many bytes go: a float model that runs layer by layer takes as
# long for one as for a few dozen.
CHUNK_BYTES = 256 << 20
MOST_CHUNKS = 4

REWRITTEN = "the layers behind it show that its tensor is on another scale: rewritten"


def compare_layers(
    network: FloatNetwork,
    reader: IntermediateReader,
    precision: Precision,
    images: Inputs,
    status: Status,
    progress: Progress | None = None,
) -> tuple[tuple[LayerError, ...], tuple[Unaligned, ...], dict[str, int]]:
    """Measures what each layer of a file adds to the error.

    Args:
        network: the float model.
        reader: the file.
        precision: of the file.
        images: N ... of every input.
        status: told what is being done.
        progress: called with (images done, images in all).

    Returns:
        (layers in the order of computation, those without a tensor, how many compute nothing).

    Raises:
        ModelFileError: no tensor of the file is named after a layer.
    """
    alignment = align_layers(network, reader, take_samples(images, 0, reader.batch))
    if not alignment.chosen:
        raise ModelFileError(
            f"{reader.path}: none of its tensors is named after a layer of {network.name}, so "
            "there is nothing to compare. Files that 'edgevit export' writes keep the names."
        )
    for path in list_rewritten(alignment, take_samples(images, 0, CHUNK)):
        alignment.leave_out(path, REWRITTEN)
    status(f"comparing {len(alignment.chosen)} layers on {count_samples(images)} images")
    rows = summarise(_sum_errors(alignment, images, progress), precision)
    unaligned = tuple(
        Unaligned(layer.path, layer.kind, alignment.reasons[layer.path])
        for layer in network.layers
        if layer.path in alignment.reasons and layer.path != PREPROCESSING
    )
    roles = Counter(layer.role for layer in network.layers)
    skipped = {str(role): roles[role] for role in (Role.PASSES, Role.CONTAINS) if roles[role]}
    return rows, unaligned, skipped


def _sum_errors(alignment: Alignment, images: Inputs, progress: Progress | None) -> list[LayerSums]:
    """Sums over all images, of the layers in the order of computation."""
    reader = alignment.reader
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    products, inside = _group_products(alignment), _group_inside(alignment)
    noises = [noise for group in products.values() for noise in group]
    names = {tensor.name for group in inside.values() for tensor in group}
    names |= {noise.product.entering for noise in noises}
    reader.select(sorted({*alignment.tensor_names, *names}))
    sums: dict[str, LayerSums] = {}
    size = max(1, CHUNK // reader.batch) * reader.batch
    many = size * _count_chunks(reader, names.union(alignment.tensor_names), size)
    total = count_samples(images)
    for start in range(0, total, many):
        chunk = take_samples(images, start, start + many)
        parts = [
            reader.run(take_samples(chunk, first, first + size))
            for first in range(0, count_samples(chunk), size)
        ]
        for found in parts:
            for noise in noises:
                noise.add(found[noise.product.entering], tensors[noise.product.entering].shape)
        _add_images(alignment, chunk, _join(parts), products, sums)
        for entry in sums.values():
            for found in parts:
                entry.inside.add(inside.get(entry.tensor.layer, ()), found)
        if progress:
            progress(min(start + many, total), total)
    return list(sums.values())


def _count_chunks(reader: IntermediateReader, names: Container[str], size: int) -> int:
    """How many chunks the float model may run at once."""
    numbers = sum(
        math.prod(tensor.shape) // reader.batch for tensor in reader.tensors if tensor.name in names
    )
    return max(1, min(MOST_CHUNKS, CHUNK_BYTES // max(1, 4 * numbers * size)))


def _join(parts: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
    """The same tensors for all images, as for those of one run after the other."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _add_images(
    alignment: Alignment,
    images: Inputs,
    found: Mapping[str, np.ndarray],
    products: Mapping[str, list[ProductNoise]],
    sums: dict[str, LayerSums],
) -> None:
    """Runs the float model on its own, and on the file's tensors, and adds to the layers' sums."""

    def add_total(path: str, value: np.ndarray, own: np.ndarray) -> None:
        tensor = alignment.chosen[path]
        if path not in sums:
            entering = products.get(tensor.layer, ())
            last = path if path in alignment.firsts else ""
            shown, within = alignment.shown(path), alignment.within(path)
            sums[path] = LayerSums(shown, tensor, last, within, products=entering)
        sums[path].total.add(value, own)

    def add_own(path: str, value: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        sums[path].add_added(value, own)
        return own if np.isfinite(own).all() else None

    alignment.show(images, found, add_total)
    alignment.visit(images, found, add_own)


def _group_products(alignment: Alignment) -> dict[str, list[ProductNoise]]:
    """The products with stored weights, by the layer of the file that they are inside of."""
    names = {tensor.name for tensor in alignment.reader.tensors}
    layers = _layers_of(alignment.chosen.values())
    found: dict[str, list[ProductNoise]] = {}
    for product in alignment.reader.products:
        if product.entering in names:
            found.setdefault(_innermost(product.layer, layers), []).append(ProductNoise(product))
    return found


def _group_inside(alignment: Alignment) -> dict[str, list[IntermediateTensor]]:
    """Integer tensors that are no layer's output and more than moved values, by layer."""
    outputs = set(alignment.tensor_names)
    layers = _layers_of(alignment.chosen.values())
    found: dict[str, list[IntermediateTensor]] = {}
    for tensor in alignment.reader.tensors:
        if tensor.levels and tensor.name not in outputs and tensor.op not in MOVES:
            found.setdefault(_innermost(tensor.layer, layers), []).append(tensor)
    return found


def _layers_of(tensors: Iterable[IntermediateTensor]) -> set[str]:
    return {tensor.layer for tensor in tensors}


def _innermost(path: str, layers: Container[str]) -> str:
    """The layer that a name is inside of, such as "a/b" for "a/b/Tensordot_1"; empty for none."""
    while path and path not in layers:
        path = path.rpartition("/")[0]
    return path

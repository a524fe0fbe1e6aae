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
from edgevit.verification.rounding_noise import MOVES, InsideNoise, ProductNoise

CHUNK = 8  # images whose intermediate tensors are in memory at a time, of large ones fewer
RUN_BYTES = 256 << 20  # that these tensors take
# The float model sees more images at once, as far as outputs of so many bytes go: layer by layer it
# takes as long for one small image as for a few dozen. With fewer than MIN_AT_ONCE, a layer with
# one value a channel would look as if it were on another scale.
AT_ONCE_BYTES = 384 << 20
MIN_AT_ONCE, MAX_AT_ONCE = 4, 32

REWRITTEN = "the layers behind it show that its tensor is on another scale: rewritten"


def compare_layers(
    network: FloatNetwork,
    reader: IntermediateReader,
    precision: Precision,
    images: Inputs,
    status: Status,
    progress: Progress | None = None,
    totals: bool = True,
) -> tuple[tuple[LayerError, ...], tuple[Unaligned, ...], dict[str, int]]:
    """Measures what each layer of a file adds to the error.

    Args:
        network: the float model.
        reader: the file.
        precision: of the file.
        images: N ... of every input.
        status: told what is being done.
        progress: called with (images done, images in all).
        totals: whether the file is held against the float model on its own too; if not, the total
            figures say that nothing differs.

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
    few = min(CHUNK, _count_at_once(alignment, count_samples(images)))
    for path in list_rewritten(alignment, take_samples(images, 0, few)):
        alignment.leave_out(path, REWRITTEN)
    status(f"comparing {len(alignment.chosen)} layers on {count_samples(images)} images")
    rows = summarise(_sum_errors(alignment, images, totals, progress), precision)
    unaligned = tuple(
        Unaligned(layer.path, layer.kind, alignment.reasons[layer.path])
        for layer in network.layers
        if layer.path in alignment.reasons and layer.path != PREPROCESSING
    )
    roles = Counter(layer.role for layer in network.layers)
    skipped = {str(role): roles[role] for role in (Role.PASSES, Role.CONTAINS) if roles[role]}
    return rows, unaligned, skipped


def _sum_errors(
    alignment: Alignment, images: Inputs, totals: bool, progress: Progress | None
) -> list[LayerSums]:
    """Sums over all images, of the layers in the order of computation."""
    reader = alignment.reader
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    products, tensors_inside = _group_products(alignment), _group_inside(alignment)
    noises = [noise for group in products.values() for noise in group]
    names = {tensor.name for group in tensors_inside.values() for tensor in group}
    names |= {noise.product.entering for noise in noises}
    names.update(alignment.tensor_names)
    reader.select(sorted(names))
    inside = {layer: InsideNoise() for layer in _layers_of(alignment.chosen.values())}
    sums: dict[str, LayerSums] = {}
    size = min(CHUNK, RUN_BYTES // _count_bytes(reader, names))
    size = max(1, size // reader.batch) * reader.batch
    total = count_samples(images)
    many = math.ceil(_count_at_once(alignment, total) / size) * size
    for start in range(0, total, many):
        chunk = take_samples(images, start, start + many)
        parts: list[dict[str, np.ndarray]] = []
        for first in range(0, count_samples(chunk), size):
            found = reader.run(take_samples(chunk, first, first + size))
            for noise in noises:
                noise.add(found[noise.product.entering], tensors[noise.product.entering].shape)
            for layer, entry in inside.items():
                entry.add(tensors_inside.get(layer, ()), found)
            parts.append({name: found[name] for name in alignment.tensor_names})
        _add_images(alignment, chunk, _join(parts), (products, inside), sums, totals)
        if progress:
            progress(min(start + many, total), total)
    return list(sums.values())


def _count_at_once(alignment: Alignment, total: int) -> int:
    """How many images the float model may see at once: equal parts of them all."""
    size = _count_bytes(alignment.reader, alignment.tensor_names)
    most = max(MIN_AT_ONCE, min(MAX_AT_ONCE, AT_ONCE_BYTES // size))
    return math.ceil(total / math.ceil(total / most))


def _count_bytes(reader: IntermediateReader, names: Container[str]) -> int:
    """What tensors take as float32 of one image."""
    sizes = (math.prod(tensor.shape) for tensor in reader.tensors if tensor.name in names)
    return max(1, 4 * sum(sizes) // reader.batch)


def _join(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The same tensors for all images, as for those of one run after the other; takes parts out."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part.pop(name) for part in parts]) for name in [*parts[0]]}


def _add_images(
    alignment: Alignment,
    images: Inputs,
    found: Mapping[str, np.ndarray],
    noises: tuple[Mapping[str, list[ProductNoise]], Mapping[str, InsideNoise]],
    sums: dict[str, LayerSums],
    totals: bool,
) -> None:
    """Runs the float model on its own, and on the file's tensors, and adds to the layers' sums."""
    products, inside = noises

    def sums_of(path: str) -> LayerSums:
        tensor = alignment.chosen[path]
        if path not in sums:
            last = path if path in alignment.firsts else ""
            shown, within = alignment.shown(path), alignment.within(path)
            sums[path] = LayerSums(
                *(shown, tensor, last, within),
                products=products.get(tensor.layer, ()),
                inside=inside[tensor.layer],
            )
        return sums[path]

    def add_total(path: str, value: np.ndarray, own: np.ndarray) -> None:
        sums_of(path).add_total(value, own)

    def add_own(path: str, value: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        sums_of(path).add_added(value, own)
        return own if np.isfinite(own).all() else None

    if totals:
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

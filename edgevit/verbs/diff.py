"""An exported file against the float Keras model, layer by layer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.base.files import digest_path
from edgevit.core.golden_images import draw_images
from edgevit.core.layer_errors import (
    PREPROCESSING,
    FloatLayer,
    LayerDiff,
    LayerError,
    Role,
    Unaligned,
)
from edgevit.core.manifest import MANIFEST_KEY, Manifest
from edgevit.core.seal import find_damage
from edgevit.core.target import Precision, find_target
from edgevit.formats.intermediate import InnerTensor, Tap
from edgevit.formats.registry import detect_format, open_tap
from edgevit.frontend.opening import Opening, load_test, open_source
from edgevit.verification.align_layers import alike, arrange, choose_tensors, find_candidates
from edgevit.verification.layer_errors import LayerSums, summarise
from edgevit.verification.rewritten_layers import DOUBTFUL, Trial, find_rewritten
from edgevit.verification.rounding_noise import MOVES, ProductNoise

if TYPE_CHECKING:
    from edgevit.frontend.source import Source

Status = Callable[[str], None]
Progress = Callable[[int, int], None]
IMAGES = 32
CHUNK = 8  # images whose inner tensors are in memory at a time

WHY = {
    Role.REPEATED: "is called several times, so the file's names do not tell its tensors apart",
    "named": "no tensor is named after it: fused into its neighbours",
    "sized": "its tensors have other sizes: computed in part, or in pieces",
    "bare": "moves a normalisation's values, whose scale and offset are in the weights behind it",
    "rewritten": "the layers behind it show that its tensor is on another scale: rewritten",
}


@dataclass
class _Bench:
    """What a comparison works with.

    Attributes:
        source: the float model.
        tap: the file.
        layers: of the float model.
        chosen: the tensor of each layer that is compared.
    """

    source: Source
    tap: Tap
    layers: tuple[FloatLayer, ...]
    chosen: dict[str, InnerTensor]

    def read(self, layer: FloatLayer, found: dict[str, np.ndarray], like: np.ndarray) -> np.ndarray:
        """What the file computed for a layer, in the axes of its float output ``like``.

        A normalisation without its scale and offset, which the layers behind it hold, gets them
        back, so that what is behind it sees what it saw in the file.
        """
        tensor = self.chosen[layer.path]
        values = arrange(found[tensor.name], tensor.shape, like.shape[1:], like)
        if tensor.bare and layer.affine is not None:
            scale, offset = layer.affine
            values = values * scale + offset
        return values


def diff(
    path: str | Path,
    model: str | Path | None = None,
    data: str | Path | None = None,
    limit: int | None = None,
    unsealed: bool = False,
    status: Status | None = None,
    progress: Progress | None = None,
    **opening: Unpack[Opening],
) -> LayerDiff:
    """Holds every layer of an exported file against the float Keras model.

    Both see the same images. The float model runs twice: on its own, and with every layer given
    what the file's own layers computed, which tells what each layer adds to the error.

    Args:
        path: a .tflite or .onnx file that edgevit exported.
        model: the float model: anything that :func:`edgevit.frontend.opening.open_source` takes.
            None: the shipped weights of the architecture that the file's manifest names.
        data: a dataset whose test images are used; None: the golden images that every file was
            verified with.
        limit: images; None: IMAGES.
        unsealed: look into a file although it changed since it was sealed.
        status: called with a line about what is being done.
        progress: called with (images done, images in all).
        **opening: see :class:`edgevit.frontend.opening.Opening`.

    Raises:
        ConfigError: a SavedModel, or a model with other weights than the file's.
        ModelFileError: no such file, damaged, without papers, or without any layer of the model.
        RuntimeFailure: the runtime refuses the file.
    """
    say = status or (lambda line: None)
    path = Path(path)
    warnings = _check_seal(path, unsealed)
    with open_tap(path) as tap:
        manifest = _read_manifest(tap, path)
        target = find_target(manifest.target)
        say("loading the float model")
        source = _open_float(manifest, path, model, opening)
        images, origin = _load_images(source, manifest, data, limit or IMAGES, say)
        layers, unaligned, skipped = compare_layers(
            source, tap, target.precision, images, say, progress
        )
        return LayerDiff(
            file=path.name,
            sha256=digest_path(path),
            model=source.name,
            target=target.name,
            runtime=tap.runtime,
            images=len(images),
            source=origin,
            layers=layers,
            unaligned=unaligned,
            skipped=skipped,
            warnings=warnings,
        )


def compare_layers(
    source: Source,
    tap: Tap,
    precision: Precision,
    images: np.ndarray,
    say: Status,
    progress: Progress | None = None,
) -> tuple[tuple[LayerError, ...], tuple[Unaligned, ...], dict[str, int]]:
    """The layers of an opened file against those of a float model.

    Args:
        source: the float model.
        tap: the file.
        precision: of the file.
        images: uint8 N H W 3.
        say: told what is being done.
        progress: called with (images done, images in all).

    Returns:
        (layers in the order of computation, those without a tensor, how many compute nothing).

    Raises:
        ModelFileError: no tensor of the file is named after a layer.
    """
    from edgevit.frontend.record_layers import list_layers

    say(f"looking for the layers of {source.name} in {tap.path.name}")
    layers = list_layers(source, images[:1])
    chosen, reasons = _align(source, tap, layers, images[: tap.batch])
    if not chosen:
        raise ModelFileError(
            f"{tap.path}: none of its tensors is named after a layer of {source.name}, so there is "
            "nothing to compare. Files that 'edgevit export' writes keep the names."
        )
    bench = _Bench(source, tap, layers, chosen)
    for layer in _find_rewritten(bench, images[:CHUNK]):
        del chosen[layer]
        reasons[layer] = WHY["rewritten"]
    say(f"comparing {len(chosen)} layers on {len(images)} images")
    sums = _compare(bench, images, progress)
    unaligned = tuple(
        Unaligned(layer.path, layer.kind, reasons[layer.path])
        for layer in layers
        if layer.path in reasons and layer.path != PREPROCESSING
    )
    return summarise(sums, precision), unaligned, _count_skipped(layers)


def _check_seal(path: Path, unsealed: bool) -> tuple[str, ...]:
    detect_format(path)
    damage = find_damage(path)
    if not damage:
        return ()
    if not unsealed:
        raise ModelFileError(
            f"{path}: {damage}. Export it again, or give --unsealed to look for the layer that "
            "changed; a runtime may crash on a damaged file."
        )
    return (f"{path.name}: {damage}",)


def _read_manifest(tap: Tap, path: Path) -> Manifest:
    if MANIFEST_KEY not in tap.metadata:
        raise ModelFileError(
            f"{path}: carries no manifest, so it does not say which float model it came from. "
            "Files that 'edgevit export' writes do."
        )
    try:
        document = json.loads(tap.metadata[MANIFEST_KEY])
    except ValueError as error:
        raise ModelFileError(f"{path}: its embedded papers are damaged ({error}).") from None
    return Manifest.from_document(document, path.name)


def _open_float(
    manifest: Manifest, path: Path, model: str | Path | None, opening: Opening
) -> Source:
    """The float model with the file's own weights, outputs and preprocessing."""
    from edgevit.models import is_known

    if model is None and not is_known(manifest.model):
        raise ConfigError(
            f"{path.name} came from {manifest.model!r}, which is none of edgevit's own models. "
            f"Name it: edgevit diff {path.name} {manifest.model}.keras"
        )
    named = manifest.model if model is None else model
    if is_known(str(named)) or Path(named).is_dir():
        opening["outputs"] = tuple(spec.name for spec in manifest.outputs)
    source = open_source(named, **opening)
    if source.weights_sha256 != manifest.weights_sha256:
        given = f"{named} holds" if model is not None else "the shipped weights are"
        raise ConfigError(
            f"{path.name} was exported from other weights (digest "
            f"{manifest.weights_sha256[:12]}...); {given} {source.weights_sha256[:12]}.... Name "
            f"the model it came from: edgevit diff {path.name} MODEL"
        )
    contract = manifest.preprocess
    return source if contract is None else replace(source, preprocess=contract)


def _load_images(
    source: Source, manifest: Manifest, data: str | Path | None, limit: int, say: Status
) -> tuple[np.ndarray, str]:
    """(uint8 N H W 3, where they came from)."""
    if data is None:
        return draw_images(limit, source.preprocess.input_size), "golden images"
    say("reading the test images")
    dataset = load_test(data, source.preprocess, manifest.class_names, limit)
    return dataset.images, dataset.source


def _align(
    source: Source, tap: Tap, layers: tuple[FloatLayer, ...], images: np.ndarray
) -> tuple[dict[str, InnerTensor], dict[str, str]]:
    """(tensor of each layer, why the others that compute something have none)."""
    candidates = find_candidates(layers, tap.tensors, tap.batch)
    watched = {tensor.name for tensors in candidates.values() for tensor in tensors}
    tap.watch(sorted(watched))
    found = tap.run(images) if watched else {}
    expected = _record(source, images, set(candidates))

    def likeness(layer: FloatLayer, tensor: InnerTensor) -> float:
        own = expected[layer.path]
        return alike(own, arrange(found[tensor.name], tensor.shape, own.shape[1:], own))

    chosen = choose_tensors(layers, candidates, likeness)
    reasons: dict[str, str] = {}
    named = {tensor.layer for tensor in tap.tensors}
    for layer in layers:
        if layer.role is Role.REPEATED:
            reasons[layer.path] = WHY[Role.REPEATED]
        elif layer.role is Role.COMPUTES and layer.path not in chosen:
            reasons[layer.path] = WHY["sized" if layer.path in named else "named"]
    # Who moves the values of a normalisation that has a scale, and has none itself?
    scaled = {chosen[row.path].layer for row in layers if row.affine and row.path in chosen}
    for layer in layers:
        if layer.path in chosen and not layer.affine and chosen[layer.path].bare in scaled:
            reasons[layer.path] = WHY["bare"]
            del chosen[layer.path]
    return chosen, reasons


def _record(source: Source, images: np.ndarray, wanted: set[str]) -> dict[str, np.ndarray]:
    from edgevit.frontend.record_layers import visit_layers

    found: dict[str, np.ndarray] = {}

    def visit(path: str, value: np.ndarray) -> None:
        if path in wanted:
            found[path] = value

    visit_layers(source, images, visit)
    return found


def _find_rewritten(bench: _Bench, images: np.ndarray) -> list[str]:
    """Layers whose tensor is not their output, though it has their name and size.

    An exporter may fold a factor into the weights beside it. What then follows in the file agrees
    with the float layer, not with the tensor; behind a fault it is the other way round.
    """
    images = images[: max(1, len(images) // bench.tap.batch) * bench.tap.batch]
    bench.tap.watch(_names(bench))
    found = bench.tap.run(images)
    trusted = _run_on_tensors(bench, images, found, set())
    doubted = {layer for layer, run in trusted.items() if run.relative > DOUBTFUL}
    if not doubted:
        return []
    untrusted = _run_on_tensors(bench, images, found, doubted)
    return find_rewritten(trusted, untrusted, doubted)


def _names(bench: _Bench) -> list[str]:
    return sorted({tensor.name for tensor in bench.chosen.values()})


def _run_on_tensors(
    bench: _Bench, images: np.ndarray, found: dict[str, np.ndarray], without: set[str]
) -> dict[str, Trial]:
    """What each float layer answers to the file's own tensors, but for some layers' tensors."""
    from edgevit.frontend.record_layers import visit_layers

    trials: dict[str, Trial] = {}
    by_path = {layer.path: layer for layer in bench.layers}

    def visit(path: str, value: np.ndarray) -> np.ndarray | None:
        tensor = bench.chosen.get(path)
        if tensor is None:
            return None
        own = bench.read(by_path[path], found, value)
        trials[path] = Trial.of(value, own)
        return None if path in without or not np.isfinite(own).all() else own

    visit_layers(bench.source, images, visit)
    return trials


def _compare(bench: _Bench, images: np.ndarray, progress: Progress | None) -> tuple[LayerSums, ...]:
    """Sums over all images, of the layers in the order of computation."""
    from edgevit.frontend.record_layers import visit_layers

    by_path = {layer.path: layer for layer in bench.layers}
    sums: dict[str, LayerSums] = {}
    tensors = {tensor.name: tensor for tensor in bench.tap.tensors}
    products: dict[str, list[ProductNoise]] = {}
    layers = {tensor.layer for tensor in bench.chosen.values()}
    for product in bench.tap.products:
        if product.entering in tensors:
            layer = _innermost(product.layer, layers)
            products.setdefault(layer, []).append(ProductNoise(product))
    entering = {noise.product.entering for noises in products.values() for noise in noises}
    inside = _list_inside(bench)
    inner = {tensor.name for found in inside.values() for tensor in found}
    bench.tap.watch(sorted({*_names(bench), *entering, *inner}))
    size = max(1, CHUNK // bench.tap.batch) * bench.tap.batch
    for start in range(0, len(images), size):
        chunk = images[start : start + size]
        found = bench.tap.run(chunk)
        for noise in (noise for noises in products.values() for noise in noises):
            name = noise.product.entering
            noise.add(found[name], tensors[name].shape)

        def own(path: str, value: np.ndarray, found=found) -> np.ndarray | None:
            tensor = bench.chosen.get(path)
            if tensor is None:
                return None
            if path not in sums:
                mine = products.get(tensor.layer, ())
                sums[path] = LayerSums(by_path[path], tensor, products=mine)
            return bench.read(by_path[path], found, value)

        def alone(path: str, value: np.ndarray, own=own) -> None:
            computed = own(path, value)
            if computed is not None:
                sums[path].total.add(value, computed)

        def on_tensors(path: str, value: np.ndarray, own=own) -> np.ndarray | None:
            computed = own(path, value)
            if computed is None:
                return None
            sums[path].add_added(value, computed)
            return computed if np.isfinite(computed).all() else None

        visit_layers(bench.source, chunk, alone)
        visit_layers(bench.source, chunk, on_tensors)
        for entry in sums.values():
            entry.inside.add(inside.get(entry.tensor.layer, ()), found)
        if progress:
            progress(min(start + size, len(images)), len(images))
    return tuple(sums.values())


def _list_inside(bench: _Bench) -> dict[str, list[InnerTensor]]:
    """Integer tensors that are no layer's output and more than moved values, by layer."""
    outputs = set(_names(bench))
    layers = {tensor.layer for tensor in bench.chosen.values()}
    found: dict[str, list[InnerTensor]] = {}
    for tensor in bench.tap.tensors:
        if tensor.step and tensor.name not in outputs and tensor.op not in MOVES:
            found.setdefault(_innermost(tensor.layer, layers), []).append(tensor)
    return found


def _innermost(path: str, layers: Container[str]) -> str:
    """The layer that a name is inside of, such as "a/b" for "a/b/Tensordot_1"; empty for none."""
    while path and path not in layers:
        path = path.rpartition("/")[0]
    return path


def _count_skipped(layers: Sequence[FloatLayer]) -> dict[str, int]:
    roles = Counter(layer.role for layer in layers)
    return {str(role): roles[role] for role in (Role.PASSES, Role.CONTAINS) if roles[role]}

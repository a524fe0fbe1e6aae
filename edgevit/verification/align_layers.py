"""Which tensor of a file holds the output of which Keras layer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from edgevit.core.layer_errors import FloatLayer, FloatNetwork, Role
from edgevit.core.samples import Inputs
from edgevit.formats.intermediate import IntermediateReader, IntermediateTensor
from edgevit.formats.layer_names import is_levelled
from edgevit.verification.fused_layers import Likeness, find_ends, find_split, told_names

BLOCK = 1 << 15  # values that are multiplied at a time: their copies stay in a core's cache
CLEARLY = 0.1  # unlikeness of a better candidate, as a share of that of the last

REPEATED = "is called several times, so the file's names do not tell its tensors apart"
NO_NAME = "no tensor is named after it: fused into its neighbours"
ON_SCALES = "its channels are on scales of their own: rewritten"
OTHER_SIZE = "its tensors have other sizes: computed in part, or in pieces"
FUSED = "computed in one step with the layer in front of it, and compared with that"
MOVES_BARE = "moves a normalisation's values, whose scale and offset are in the weights behind it"

# (path of a layer, its float output, the file's values) -> what layers behind see; None: the first
PairVisitor = Callable[[str, np.ndarray, np.ndarray], np.ndarray | None]
PairLook = Callable[[str, np.ndarray, np.ndarray], None]


@dataclass
class Alignment:
    """The layers of the float model, and the tensors of the file that hold their outputs.

    Attributes:
        network: the float model.
        reader: the file.
        chosen: the tensor of each layer that is compared, by the layer's path.
        reasons: why the others that compute something have none, likewise.
        firsts: of a step that computes several layers, the one that its tensor is named after, by
            the path of the last, whose output is compared.
    """

    network: FloatNetwork
    reader: IntermediateReader
    chosen: dict[str, IntermediateTensor]
    reasons: dict[str, str]
    firsts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layers = {layer.path: layer for layer in self.network.layers}

    @property
    def tensor_names(self) -> list[str]:
        """Names of the tensors that are compared, sorted."""
        return sorted({tensor.name for tensor in self.chosen.values()})

    def leave_out(self, path: str, reason: str) -> None:
        """Compares a layer no longer."""
        del self.chosen[path]
        self.reasons[self.firsts.get(path, path)] = reason

    def ends_in_product(self, path: str) -> bool:
        """Whether a layer's tensor has the name of another layer's product first."""
        first = self.chosen[path].name.split(";")[0]
        product = first.rpartition("/")[2].lower().startswith("mul")
        return product and path.split("/")[-1] not in told_names(first)

    def shown(self, path: str) -> FloatLayer:
        """The layer that stands for a compared output: of a step, the first."""
        return self.layers[self.firsts.get(path, path)]

    def within(self, path: str) -> tuple[str, ...]:
        """Layers in front of a compared output that are not compared, in the order of computation.

        Args:
            path: of a layer in ``chosen``.
        """
        waiting, found = [*self.layers[path].inputs], set()
        while waiting:
            before = waiting.pop()
            if before not in found and before not in self.chosen:
                found.add(before)
                waiting.extend(self.layers[before].inputs)
        return tuple(layer for layer in self.layers if layer in found)

    def visit(self, images: Inputs, found: Mapping[str, np.ndarray], visitor: PairVisitor) -> None:
        """Runs the float model and shows each compared layer's output beside the file's tensor.

        Args:
            images: B ... of every input.
            found: the file's tensors for these images.
            visitor: gets both as float32 B ... in the axes of the layer.
        """

        def show(path: str, value: np.ndarray) -> np.ndarray | None:
            if path not in self.chosen:
                return None
            return visitor(path, value, self._read(path, found, value))

        self.network.visit(images, show)

    def show(self, images: Inputs, found: Mapping[str, np.ndarray], look: PairLook) -> None:
        """As :meth:`visit`, to whom puts nothing in the place of an output."""

        def look_at(path: str, value: np.ndarray) -> None:
            if path in self.chosen:
                look(path, value, self._read(path, found, value))

        self.network.show(images, look_at)

    def _read(self, path: str, found: Mapping[str, np.ndarray], like: np.ndarray) -> np.ndarray:
        """What the file computed for a layer, in the axes of its float output ``like``.

        A normalisation without its scale and offset, which the layers behind it hold, gets them
        back, so that what is behind it sees what it saw in the file.
        """
        tensor = self.chosen[path]
        values = arrange(found[tensor.name], tensor.shape, like.shape[1:], like)
        return whole(values, tensor, self.layers[path])


def align_layers(network: FloatNetwork, reader: IntermediateReader, images: Inputs) -> Alignment:
    """Finds the tensor of each layer.

    Args:
        network: the float model.
        reader: the file.
        images: B ... of every input, one run of the file, for where values decide.
    """
    layers = network.layers
    candidates = find_candidates(layers, reader.tensors, reader.batch)
    names = {tensor.name for tensors in candidates.values() for tensor in tensors}
    reader.select(sorted(names))
    found = reader.run(images) if names else {}
    expected: dict[str, np.ndarray] = {}
    sizes = {math.prod(layer.shape) for layer in layers if layer.path in candidates}

    def keep(path: str, value: np.ndarray) -> None:
        if math.prod(value.shape[1:]) in sizes:
            expected[path] = value

    network.show(images, keep)

    def compare(
        measure: Callable[[np.ndarray, np.ndarray], float],
        layer: FloatLayer,
        tensor: IntermediateTensor,
    ) -> float:
        own = expected[layer.path]
        values = arrange(found[tensor.name], tensor.shape, own.shape[1:], own)
        return measure(own, whole(values, tensor, layer))

    likeness, nearness = partial(compare, alike), partial(compare, near)

    chosen = choose_tensors(layers, candidates, likeness)
    named = {tensor.layer: OTHER_SIZE for tensor in reader.tensors}
    named |= {tensor.layer: ON_SCALES for tensor in reader.tensors if is_levelled(tensor.name)}
    reasons: dict[str, str] = {}
    for layer in layers:
        if layer.role is Role.REPEATED:
            reasons[layer.path] = REPEATED
        elif layer.role is Role.COMPUTES and layer.path not in chosen:
            reasons[layer.path] = named.get(layer.path, NO_NAME)
    firsts: dict[str, str] = {}
    for first, last in find_split(layers, chosen, likeness).items():
        del chosen[first]
        firsts[last] = firsts.pop(first, first)
        reasons[last] = FUSED
    for first, behind in find_ends(layers, candidates, chosen, likeness, nearness).items():
        chosen[behind[-1]] = chosen.pop(first)
        firsts[behind[-1]] = firsts.pop(first, first)
        reasons |= dict.fromkeys(behind, FUSED)
    alignment = Alignment(network, reader, chosen, reasons, firsts)
    # Who moves the values of a normalisation that has a scale, and has none itself?
    scaled = {chosen[row.path].layer for row in layers if row.affine and row.path in chosen}
    for layer in layers:
        if layer.path in chosen and not layer.affine and chosen[layer.path].bare in scaled:
            alignment.leave_out(layer.path, MOVES_BARE)
    return alignment


def find_candidates(
    layers: Sequence[FloatLayer], tensors: Sequence[IntermediateTensor], batch: int
) -> dict[str, list[IntermediateTensor]]:
    """For each layer the tensors that may be its output, in the order of computation.

    A tensor belongs to the innermost layer that its name is inside of. It may be the output if it
    has as many elements. Numbers at the end of a name do not count where the file lost them.

    Args:
        layers: of the float model.
        tensors: of the file.
        batch: images in a run of the file.
    """
    names = _Names(layers, tensors)
    found: dict[str, list[IntermediateTensor]] = {}
    for tensor in tensors:
        for owner in names.owners(tensor.layer):
            fits = math.prod(tensor.shape) == batch * math.prod(owner.shape)
            sound = tensor.shape and not is_levelled(tensor.name) and not _is_half(tensor, owner)
            if owner.role is Role.COMPUTES and sound and fits:
                found.setdefault(owner.path, []).append(tensor)
    return found


def _is_half(tensor: IntermediateTensor, layer: FloatLayer) -> bool:
    """Whether a tensor is the first of the two convolutions of a separable one."""
    return tensor.depthwise and layer.kind.startswith("Separable")


def choose_tensors(
    layers: Sequence[FloatLayer],
    candidates: dict[str, list[IntermediateTensor]],
    likeness: Likeness,
) -> dict[str, IntermediateTensor]:
    """The output of each layer among its candidates: the last one.

    Values decide in two cases: where a converter named something after the layer that comes behind
    it (an earlier candidate is then clearly more like the float layer's output), and where several
    layers share their candidates, since the file lost the numbers in their names.

    Args:
        layers: of the float model, in the order of computation.
        candidates: of :func:`find_candidates`.
        likeness: of a layer's output and a tensor.
    """
    chosen: dict[str, IntermediateTensor] = {}
    users: dict[str, set[str]] = {}
    for path, tensors in candidates.items():
        for tensor in tensors:
            users.setdefault(tensor.name, set()).add(path)
    taken: set[str] = set()
    for layer in layers:
        tensors = candidates.get(layer.path, [])
        if not tensors:
            continue
        if all(len(users[tensor.name]) == 1 for tensor in tensors):
            chosen[layer.path] = _pick(layer, tensors, likeness)
            continue
        free = [tensor for tensor in tensors if tensor.name not in taken]
        if free:
            best = max(free, key=lambda tensor: (likeness(layer, tensor), tensor.position))
            chosen[layer.path] = best
            taken.add(best.name)
    return chosen


def _pick(
    layer: FloatLayer, tensors: list[IntermediateTensor], likeness: Likeness
) -> IntermediateTensor:
    if len(tensors) == 1:
        return tensors[0]
    unlike = [1 - likeness(layer, tensor) for tensor in tensors]
    best = int(np.argmin(unlike))
    return tensors[best] if unlike[best] < CLEARLY * unlike[-1] else tensors[-1]


def arrange(
    values: np.ndarray, shape: tuple[int, ...], wanted: tuple[int, ...], like: np.ndarray
) -> np.ndarray:
    """A tensor's values in the axes of the Keras layer.

    Args:
        values: float32 B and the elements of an image.
        shape: of the tensor in the file.
        wanted: shape of the layer's output without the batch.
        like: B and ``wanted``; decides where both layouts fit.

    Returns:
        float32 B and ``wanted``.
    """
    count = len(values)
    straight = values.reshape(count, *wanted)
    channels_first = (wanted[-1], *wanted[:-1])
    if len(wanted) < 2 or tuple(shape[-len(wanted) :]) != channels_first:
        return straight
    turned = np.moveaxis(values.reshape(count, *channels_first), 1, -1)  # B C ... -> B ... C
    if channels_first == tuple(wanted) and alike(straight, like) >= alike(turned, like):
        return straight
    return np.ascontiguousarray(turned)


def whole(values: np.ndarray, tensor: IntermediateTensor, layer: FloatLayer) -> np.ndarray:
    """Values with the scale and offset of a normalisation whose tensor lacks them."""
    if not tensor.bare or layer.affine is None:
        return values
    return np.asarray(values * layer.affine[0] + layer.affine[1])


def alike(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine of two arrays, in [-1, 1]; -1 where one is not finite, 0 where one is zero."""
    return _compare_sizes(first, second)[0]


def near(first: np.ndarray, second: np.ndarray) -> float:
    """Likewise, times the norm of the smaller over that of the larger."""
    cosine, ratio = _compare_sizes(first, second)
    return cosine * ratio


def _compare_sizes(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """(cosine of two arrays, norm of the smaller over that of the larger)."""
    a, b, product = 0.0, 0.0, 0.0
    first, second = first.ravel(), second.ravel()
    for start in range(0, len(first), BLOCK):
        x, y = (values[start : start + BLOCK].astype(np.float64) for values in (first, second))
        a, b, product = a + float(x @ x), b + float(y @ y), product + float(x @ y)
    size = math.sqrt(a * b) if math.isfinite(a * b) else math.inf
    if not math.isfinite(size):
        return -1.0, 1.0
    return (product / size, math.sqrt(min(a, b) / max(a, b))) if size > 0 else (0.0, 1.0)


class _Names:
    """Whose a name in a file is.

    Args:
        layers: of the float model.
        tensors: of the file.
    """

    def __init__(self, layers: Sequence[FloatLayer], tensors: Sequence[IntermediateTensor]):
        self._by_path = {layer.path: layer for layer in layers}
        self._parts = {part for layer in layers for part in layer.path.split("/")}
        self._by_stem: dict[str, list[FloatLayer]] = {}
        for layer in layers:
            self._by_stem.setdefault(_stem(layer.path), []).append(layer)
        paths = {self._once(tensor.layer) for tensor in tensors}
        self._spelt = {path for path in paths if path in self._by_path}

    def owners(self, path: str) -> list[FloatLayer]:
        """The innermost layer that a name is inside of; several where its number was lost."""
        parts = path.split("/")
        for length in range(len(parts), 0, -1):
            name = self._once("/".join(parts[:length]))
            same = self._by_stem.get(name, [])
            if name in self._by_path:
                # A bare "dense" may stand for "dense_1" too, where that is no name of the file.
                others = [layer for layer in same if layer.path not in self._spelt]
                return [self._by_path[name], *others]
            if same:
                return same
        return []

    def _once(self, path: str) -> str:
        """A name without numbers that tell two traces of one layer apart."""
        parts = path.split("/")
        known = [part if part in self._parts else re.sub(r"_\d+$", "", part) for part in parts]
        once = "/".join(known)
        return once if once in self._by_path else path


def _stem(path: str) -> str:
    return "/".join(re.sub(r"(_\d+)+$", "", part) for part in path.split("/"))

"""Faults told apart from rewrites, by what follows in the file.

An exporter may move a layer's factor into the weights of the next layer: then the tensor with the
layer's name holds something else than the layer's output, and nothing is wrong. A fault looks the
same at this layer. But what follows a rewrite agrees with the float layer, and what follows a
fault with the file's tensor. So the float model runs on the file's tensors once more without the
doubtful ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from edgevit.core.samples import Inputs, count_samples, take_samples
from edgevit.verification.align_layers import Alignment

DOUBTFUL = 0.1  # relative error from which on a tensor's meaning is checked
CLEARLY = 0.1  # error that is left without the tensor, as a share of the error with it


@dataclass(frozen=True)
class Trial:
    """One layer's answer to the tensors before it.

    Attributes:
        relative: error of the file's tensor, root mean square, over that of the answer.
        answer: what the float layer computed.
        found: the file's tensor.
    """

    relative: float
    answer: np.ndarray = field(repr=False)
    found: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, answer: np.ndarray, found: np.ndarray) -> Self:
        """From B ... C values of both."""
        signal = float(np.sqrt(np.mean(np.square(answer, dtype=np.float64))))
        error = _distance(answer, found)
        return cls(error / signal if signal > 0 else float(error > 0), answer, found)


def list_rewritten(alignment: Alignment, images: Inputs) -> list[str]:
    """Layers whose tensor is not their output, though it has their name and size.

    Args:
        alignment: the layers and their tensors.
        images: B ... of every input, as many as are in memory at a time.
    """
    batch = alignment.reader.batch
    images = take_samples(images, 0, max(1, count_samples(images) // batch) * batch)
    alignment.reader.select(alignment.tensor_names)
    found = alignment.reader.run(images)
    trusted = _run_trials(alignment, images, found, set())
    doubted = {layer for layer, trial in trusted.items() if trial.relative > DOUBTFUL}
    if not doubted:
        return []
    return find_rewritten(trusted, _run_trials(alignment, images, found, doubted), doubted)


def _run_trials(
    alignment: Alignment, images: Inputs, found: Mapping[str, np.ndarray], without: Set[str]
) -> dict[str, Trial]:
    """What each float layer returns for the file's own tensors, but for some layers' tensors."""
    trials: dict[str, Trial] = {}

    def compare(path: str, value: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        trials[path] = Trial.of(value, own)
        return None if path in without or not np.isfinite(own).all() else own

    alignment.visit(images, found, compare)
    return trials


def find_rewritten(
    trusted: Mapping[str, Trial], untrusted: Mapping[str, Trial], doubted: Set[str]
) -> list[str]:
    """The doubted layers that are rewrites.

    Args:
        trusted: layers in the order of computation, each given the tensors of those before it.
        untrusted: the same, with the float layer's own answer in the place of doubted tensors.
        doubted: paths of layers.

    Returns:
        Those whose followers answer as the file does without their tensor, and not with it. Where
        the follower of several is in doubt itself, other layers of the same name decide for them.
    """
    waiting: list[str] = []
    votes: dict[str, list[bool]] = {}
    rewritten: list[str] = []
    open_groups: list[list[str]] = []
    for path, with_tensors in trusted.items():
        without = untrusted[path]
        if waiting and _moved(with_tensors, without):
            better = _error(without) < CLEARLY * _error(with_tensors)
            if better or (path not in doubted and len(waiting) == 1):
                for layer in waiting:
                    votes.setdefault(_last(layer), []).append(better)
                rewritten += waiting if better else []
                waiting = []
            elif path not in doubted:
                open_groups.append(waiting)
                waiting = []
        # A doubted follower may be sound once the tensor before it is not believed.
        if path in doubted and without.relative > DOUBTFUL:
            waiting = [*waiting, path]
    for group in open_groups:
        for layer in group:
            known = votes.get(_last(layer), [])
            if sum(known) * 2 > len(known):
                rewritten.append(layer)
    return rewritten


def _moved(first: Trial, second: Trial) -> bool:
    """Whether a layer's answer depends on the doubted tensors before it."""
    change = _distance(first.answer, second.answer)
    return not change <= 1e-3 * max(_error(first), _error(second))


def _error(trial: Trial) -> float:
    return _distance(trial.answer, trial.found)


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square difference; infinite where one is no number."""
    error = float(np.sqrt(np.mean(np.square(first.astype(np.float64) - second))))
    return error if np.isfinite(error) else float("inf")


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]

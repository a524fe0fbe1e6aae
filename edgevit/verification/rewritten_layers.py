"""Faults told apart from rewrites, by what follows in the file.

An exporter may move a layer's factor into the weights of the next layer: then the tensor with the
layer's name holds something else than the layer's output, and nothing is wrong. A fault looks the
same at this layer. But what follows a rewrite agrees with the float layer, and what follows a
fault with the file's tensor. So the float model runs on the file's tensors once more without the
doubtful ones.

Where a fault is in the very layer that follows, that says nothing. But one kind of rewrite shows
by itself: a file with levels for each channel holds every channel on a scale of its own, and one
whose convolutions have taken in the norms behind them does too, some turned round. A fault
hits one channel, or all alike. And an activation that no layer stands for may be in the step, as
keras.ops.relu in a model's own call: then the tensor is the layer's output, cut off at its ends.

A block that learns one factor and one offset, behind which an average is taken, leaves both to the
weights of the Dense layer behind that (HGNetV2). Where a tensor is exactly so, what follows need
not agree as clearly: weights of 8 bits have an error of their own.
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
RATHER = 0.5  # likewise, where the tensor is one factor and one offset from the layer's output
MULTIPLE = 0.05  # error of a multiple, as a share of what the tensor holds
SAME_SHAPE = 0.98  # correlation of a channel with itself on another scale, rounded
MOST_CHANNELS = 0.9  # share of channels that have to be so
UNEVEN = 1.25  # between factors of channels, the smallest and largest tenth left out
VALUES = 1 << 18  # of a layer that are looked at; rows that are spread evenly stand for more
# Activations that a step may hold: factor, offset, lowest, highest. The last four: hard sigmoid,
# whose sixth may be in the weights behind it.
CUTS = (
    (1.0, 0.0, 0.0, np.inf),
    (1.0, 0.0, 0.0, 6.0),
    (1.0, 0.0, -1.0, 1.0),
    (1.0, 0.0, -3.0, 3.0),
    (1.0, 3.0, 0.0, 6.0),
    (1 / 6, 0.5, 0.0, 1.0),
    (6.0, 0.0, 0.0, 6.0),
)


@dataclass(frozen=True)
class Trial:
    """One layer's answer to the tensors before it.

    Attributes:
        relative: error of the file's tensor, root mean square, over that of the answer.
        answer: what the float layer computed: rows C, of about VALUES numbers.
        found: the file's tensor, likewise.
    """

    relative: float
    answer: np.ndarray = field(repr=False)
    found: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, answer: np.ndarray, found: np.ndarray) -> Self:
        """From B ... C values of both."""
        answer, found = _take_rows(answer), _take_rows(found)
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
    untrusted = _run_trials(alignment, images, found, doubted)
    shown = [
        path
        for path, trial in untrusted.items()
        if path in doubted
        and (
            _shows_itself(trial) or (is_multiple(trusted[path]) and alignment.ends_in_product(path))
        )
    ]
    if shown:  # what else is doubtful is judged without them
        trusted = _run_trials(alignment, images, found, {*shown})
        doubted = {path for path in doubted.difference(shown) if trusted[path].relative > DOUBTFUL}
        if not doubted:
            return shown
        untrusted = _run_trials(alignment, images, found, doubted.union(shown))
    return [*shown, *find_rewritten(trusted, untrusted, doubted)]


def _shows_itself(trial: Trial) -> bool:
    """Whether a rewrite can be told from the layer's values alone."""
    return is_rescaled(trial) or is_cut(trial)


def is_rescaled(trial: Trial) -> bool:
    """Whether a tensor holds a layer's output with a factor for each channel, of uneven sizes."""
    answer, found = trial.answer.astype(np.float64), trial.found.astype(np.float64)
    answer, found = answer - answer.mean(axis=0), found - found.mean(axis=0)  # values C
    product = (answer * found).sum(axis=0)
    power, power_found = np.square(answer).sum(axis=0), np.square(found).sum(axis=0)
    live = (power > 0) & (power_found > 0) & np.isfinite(power_found)
    if not live.any():
        return False
    alike = product[live] / np.sqrt(power[live] * power_found[live])
    if np.mean(np.abs(alike) > SAME_SHAPE) < MOST_CHANNELS:
        return False
    factors = product[live] / power[live]
    low, high = np.quantile(np.abs(factors), (0.1, 0.9))
    return bool(np.median(factors) > 0 and low > 0 and high / low > UNEVEN)


def is_multiple(trial: Trial, offset: bool = False) -> bool:
    """Whether a tensor holds a layer's output times one number, and plus another where so asked.

    A layer that scales its input and adds another one, as those of InceptionResNetV2 do, has its
    factor in the weights of the layer in front. A fault may look like that too, so it counts only
    in a tensor that is named after the product of another layer, or where what follows says so.
    """
    answer, found = (side.astype(np.float64).ravel() for side in (trial.answer, trial.found))
    scale = float(np.sqrt(np.mean(np.square(found))))
    if offset:
        answer, found = answer - answer.mean(), found - found.mean()
    power, product = float(answer @ answer), float(answer @ found)
    if not (np.isfinite(product) and product > 0):
        return False
    return _distance(product / power * answer, found) < MULTIPLE * scale


def is_cut(trial: Trial) -> bool:
    """Whether a tensor holds a layer's output behind an activation that cuts it off."""
    return any(
        _distance(np.clip(factor * trial.answer + offset, low, high), trial.found)
        < CLEARLY * _error(trial)
        for factor, offset, low, high in CUTS
    )


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
            affine = all(is_multiple(trusted[layer], offset=True) for layer in waiting)
            better = _error(without) < (RATHER if affine else CLEARLY) * _error(with_tensors)
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


def _take_rows(values: np.ndarray) -> np.ndarray:
    """B ... C values as rows C, of which VALUES numbers or fewer are left."""
    rows = values.reshape(-1, values.shape[-1])
    most = max(1, VALUES // max(1, rows.shape[1]))
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def _error(trial: Trial) -> float:
    return _distance(trial.answer, trial.found)


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square difference; infinite where one is no number."""
    error = float(np.sqrt(np.mean(np.square(first.astype(np.float64) - second))))
    return error if np.isfinite(error) else float("inf")


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]

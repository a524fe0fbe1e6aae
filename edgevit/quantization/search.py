"""The quickest precisions of a file whose loss of accuracy stays within a budget.

Five starting points: three are planned by the table of kernel costs (every operator may be int8;
delicate ones, that is residual sums, LayerNormalization and attention, stay float; none is), and
two owe nothing to it (weighted layers are int8; everything is that can be). They are timed here,
side by side, and tried from the quickest on. One that loses too much is repaired: for each
group of operators it is measured how much closer to the float logits the file comes without that
group in int8; groups leave in the order of that gain for the time they cost, as many as it takes,
found by bisection. So a search takes about a dozen evaluations, however large the network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.base.progress import Progress, Status
from edgevit.base.statistics import Interval, PairedDrop
from edgevit.core.target import Precision
from edgevit.quantization.kernel_costs import KernelCosts
from edgevit.quantization.planner import FloatGraph, plan_careful, plan_precisions, predict
from edgevit.quantization.precisions import recipe_of
from edgevit.quantization.recipe import Recipe, Rule

SENSITIVITY_IMAGES = 32
PRECISIONS = (Precision.INT8, Precision.DYNAMIC, Precision.FLOAT32)
Precisions = tuple[Precision, ...]


class Candidates(Protocol):
    """Files of one network that differ in precisions alone."""

    def write(self, precisions: Precisions) -> Path:
        """Writes the file with a precision for every operator of the float graph."""
        ...

    def classify(self, path: Path, images: np.ndarray, progress: Progress | None) -> np.ndarray:
        """float32 N classes, of uint8 N H W 3."""
        ...

    def time(self, paths: Sequence[Path]) -> list[float]:
        """Median ms of an inference of each file, measured side by side."""
        ...


@dataclass(frozen=True)
class Sample:
    """Images with labels that the loss is measured on; never test images.

    Attributes:
        images: uint8 N H W 3.
        labels: int N.
        source: where they came from.
    """

    images: np.ndarray
    labels: np.ndarray
    source: str


@dataclass(frozen=True)
class Trial:
    """One assignment that was evaluated.

    Attributes:
        name: how it came about.
        drop: against the float32 file, on the validation sample; None: not evaluated, since a
            quicker one was good enough.
        latency_ms: median on this machine, one thread.
        operators: how many there are of each precision.
    """

    name: str
    drop: PairedDrop | None
    latency_ms: float
    operators: dict[str, int]


@dataclass(frozen=True)
class SearchReport:
    """How a recipe was found.

    Attributes:
        recipe: what was chosen.
        chosen: place of it among the trials.
        max_drop: the budget, in points.
        trials: what was tried, in order.
        images: size of the validation sample.
        source: where it came from.
        accuracy: of the float32 file on it, percent.
        evaluations: how often a file ran over the sample, whole or in part.
    """

    recipe: Recipe
    chosen: int
    max_drop: float
    trials: tuple[Trial, ...]
    images: int
    source: str
    accuracy: float
    evaluations: int

    @property
    def drop(self) -> PairedDrop:
        """Of the chosen one.

        Raises:
            ValueError: it was never evaluated; cannot happen in a report that a search returned.
        """
        drop = self.trials[self.chosen].drop
        if drop is None:
            raise ValueError("the chosen trial was not evaluated")
        return drop


class Search:
    """The state of one search: what was written, what was tried.

    Args:
        graph: float graph of the network.
        costs: of kernels.
        candidates: writes, runs and times files.
        sample: what the loss is measured on.
        max_drop: percentage points of accuracy that may be lost on it.
        status: called with a line about what is being done.
        progress: called with (done, in all).
    """

    def __init__(
        self,
        graph: FloatGraph,
        costs: KernelCosts,
        candidates: Candidates,
        sample: Sample,
        max_drop: float,
        status: Status | None = None,
        progress: Progress | None = None,
    ):
        self.graph, self.costs, self.candidates = graph, costs, candidates
        self.sample, self.max_drop, self.progress = sample, max_drop, progress
        self._say = status or (lambda line: None)
        self._files: dict[Precisions, Path] = {}
        self._drops: dict[Precisions, PairedDrop] = {}
        self._evaluations = 0

    def run(self, model: str) -> SearchReport:
        """Finds the quickest precisions within the budget.

        Args:
            model: what the recipe says that it was made for.

        Raises:
            ConfigError: not even dynamic weights keep the budget.
        """
        self._say(f"classifying {len(self.sample.images)} validation images in float32")
        plain = (Precision.FLOAT32,) * len(self.graph.ops)
        self._expected = self._logits(plain, self.sample.images)
        self._right = self._expected.argmax(-1) == self.sample.labels
        starts = self.list_starts()
        self._say(f"timing {len(starts)} plans side by side")
        times = self._time(list(starts))
        tried = self._try_from_the_quickest(starts, times)
        within = [p for p in tried if p in self._drops and self._keeps(p, tried[p])]
        if not within:
            best = min(drop.points for drop in self._drops.values())
            raise ConfigError(
                f"no precisions keep within {self.max_drop:g} points: the best loses {best:.2f} on "
                f"{len(self.sample.images)} images. Give a larger --max-drop, or export "
                "tflite-float16."
            )
        self._say(f"timing {len(tried)} candidates side by side")
        times |= self._time(list(tried))
        chosen = min(within, key=lambda precisions: times[precisions])
        return self._report(model, chosen, {**tried, **starts, **tried}, times)

    def list_starts(self) -> dict[Precisions, str]:
        """Assignments to begin with, and what they are called."""
        plain, int8, ops = Precision.FLOAT32, Precision.INT8, self.graph.ops
        return {
            tuple(int8 if op.weighted else plain for op in ops): "weighted int8",
            tuple(int8 if int8 in op.precisions else plain for op in ops): "all int8",
            plan_precisions(self.graph, self.costs, lambda op: False): "dynamic weights",
            plan_careful(self.graph, self.costs): "careful plan",
            plan_precisions(self.graph, self.costs): "quickest plan",
        }

    def _try_from_the_quickest(
        self, starts: dict[Precisions, str], times: dict[Precisions, float]
    ) -> dict[Precisions, str]:
        """What was tried, by name, until a start keeps the budget as it is."""
        tried: dict[Precisions, str] = {}
        for precisions in sorted(starts, key=lambda start: times[start]):
            tried[precisions] = starts[precisions]
            if self._keeps(precisions, starts[precisions]):
                break
            if Precision.INT8 in precisions:
                repaired = self._repair(precisions)
                if repaired is not None:
                    tried.setdefault(repaired, f"{starts[precisions]}, repaired")
        return tried

    def _keeps(self, precisions: Precisions, name: str) -> bool:
        """Whether an assignment stays within the budget on the whole sample."""
        if precisions not in self._drops:
            self._say(f"{name}: classifying {len(self.sample.images)} validation images")
            logits = self._logits(precisions, self.sample.images)
            right = logits.argmax(-1) == self.sample.labels
            self._drops[precisions] = PairedDrop.of(list(self._right), list(right))
        return self._drops[precisions].points <= self.max_drop

    def _repair(self, precisions: Precisions) -> Precisions | None:
        """The assignment with as few groups taken out of int8 as keep the budget."""
        order = self._by_sensitivity(precisions)
        least, most = 1, len(order)
        found = None
        while least <= most:
            count = (least + most) // 2
            candidate = self._without(precisions, order[:count])
            if self._keeps(candidate, f"{count} of {len(order)} groups out of int8"):
                found, most = candidate, count - 1
            else:
                least = count + 1
        return found

    def _by_sensitivity(self, precisions: Precisions) -> list[Rule]:
        """Groups in int8, those first whose return to float gains most for the time it costs."""
        recipe = recipe_of(self.graph, precisions, "")
        rules = [rule for rule in recipe.rules if rule.precision is Precision.INT8]
        images = self.sample.images[:SENSITIVITY_IMAGES]
        expected = self._expected[: len(images)]
        before = _error(self._logits(precisions, images), expected)
        base = predict(self.graph, precisions, self.costs)
        scores = []
        self._say(f"measuring how much each of {len(rules)} groups costs in accuracy")
        for number, rule in enumerate(rules):
            candidate = self._without(precisions, [rule])
            gained = before - _error(self._logits(candidate, images), expected)
            slower = max(predict(self.graph, candidate, self.costs) - base, 1.0)
            scores.append(gained / slower)
            if self.progress:
                self.progress(number + 1, len(rules))
        return [rules[n] for n in np.argsort(scores)[::-1]]

    def _without(self, precisions: Precisions, rules: Sequence[Rule]) -> Precisions:
        """Planned anew among the int8 operators of an assignment, those of some rules excepted."""
        kept = {
            op.group
            for op, precision in zip(self.graph.ops, precisions, strict=True)
            if precision is Precision.INT8
            and not any(rule.matches(op.layer, op.kind) for rule in rules)
        }
        return plan_precisions(self.graph, self.costs, lambda op: op.group in kept)

    def _logits(self, precisions: Precisions, images: np.ndarray) -> np.ndarray:
        self._evaluations += 1
        progress = self.progress if len(images) > SENSITIVITY_IMAGES else None
        return self.candidates.classify(self._file(precisions), images, progress)

    def _file(self, precisions: Precisions) -> Path:
        if precisions not in self._files:
            self._files[precisions] = self.candidates.write(precisions)
        return self._files[precisions]

    def _time(self, candidates: Sequence[Precisions]) -> dict[Precisions, float]:
        times = self.candidates.time([self._file(precisions) for precisions in candidates])
        return dict(zip(candidates, times, strict=True))

    def _report(
        self,
        model: str,
        chosen: Precisions,
        names: dict[Precisions, str],
        times: dict[Precisions, float],
    ) -> SearchReport:
        trials = tuple(
            Trial(name, self._drops.get(precisions), times[precisions], _count(precisions))
            for precisions, name in names.items()
        )
        drop, images = self._drops[chosen], len(self.sample.images)
        notes = (
            f"Found by --max-drop {self.max_drop:g} on {images} validation images of "
            f"{self.sample.source}:",
            f"{describe_drop(drop, drop.interval())}.",
        )
        return SearchReport(
            recipe=recipe_of(self.graph, chosen, model, notes),
            chosen=list(names).index(chosen),
            max_drop=self.max_drop,
            trials=trials,
            images=images,
            source=self.sample.source,
            accuracy=100 * float(self._right.mean()),
            evaluations=self._evaluations,
        )


def describe_drop(drop: PairedDrop, interval: Interval) -> str:
    """ "0.10 points lost (95 % interval -0.30 .. 0.50; 5 images lost, 4 won; McNemar p = 1)"."""
    return (
        f"{drop.points:.2f} points lost (95 % interval {interval.low:.2f} .. {interval.high:.2f}; "
        f"{drop.lost} images lost, {drop.won} won; McNemar p = {drop.p_value:.2g})"
    )


def _error(logits: np.ndarray, expected: np.ndarray) -> float:
    return float(np.square(logits.astype(np.float64) - expected).mean())


def _count(precisions: Precisions) -> dict[str, int]:
    counts = Counter(precisions)
    return {str(precision): counts[precision] for precision in PRECISIONS}

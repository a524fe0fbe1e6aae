"""The quickest precisions of a file whose loss of accuracy stays within a budget.

Five starting points: three are planned by the table of kernel costs (every operator may be int8;
delicate ones, that is residual sums, LayerNormalization and attention, stay float; none is), and
two owe nothing to it (weighted layers are int8; everything is that can be). They are timed here,
side by side, and tried from the quickest on. One that loses too much is repaired: for each
group of operators it is measured how much closer to the float outputs the file comes without that
group in int8; groups leave in the order of that gain for the time they cost, as many as it takes,
found by bisection. So a search takes about a dozen evaluations, however large the network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.base.progress import Progress, Status
from edgevit.base.statistics import FigureDrop, Interval
from edgevit.core.samples import Inputs, count_samples, take_samples
from edgevit.core.signature import OutputSpec, Role
from edgevit.core.target import Precision
from edgevit.quantization.kernel_costs import KernelCosts
from edgevit.quantization.planner import FloatGraph, plan_careful, plan_precisions, predict
from edgevit.quantization.precisions import recipe_of
from edgevit.quantization.recipe import Recipe, Rule
from edgevit.tasks.figures import Figure, Outputs

SENSITIVITY_IMAGES = 32
PRECISIONS = (Precision.INT8, Precision.DYNAMIC, Precision.FLOAT32)
Precisions = tuple[Precision, ...]


class Candidates(Protocol):
    """Files of one network that differ in precisions alone."""

    def write(self, precisions: Precisions) -> Path:
        """Writes the file with a precision for every operator of the float graph."""
        ...

    def run(self, path: Path, inputs: Inputs, progress: Progress | None) -> Outputs:
        """float32 N ... by name, of raw inputs."""
        ...

    def time(self, paths: Sequence[Path]) -> list[float]:
        """Median ms of an inference of each file, measured side by side."""
        ...


@dataclass(frozen=True)
class Sample:
    """What the loss is measured on; never test images.

    Attributes:
        inputs: raw, N ... by name or of the only input.
        source: where they came from.
        score: (outputs of a file, those of the float32 file) -> the figure that a budget trades.
        outputs: that the figure is about.
    """

    inputs: Inputs
    source: str
    score: Callable[[Outputs, Outputs], Figure]
    outputs: tuple[OutputSpec, ...]

    def __len__(self) -> int:
        return count_samples(self.inputs)


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
    drop: FigureDrop | None
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
        figure: what the budget trades, in words.
        float_figure: of the float32 file on the sample, in hundredths.
        evaluations: how often a file ran over the sample, whole or in part.
    """

    recipe: Recipe
    chosen: int
    max_drop: float
    trials: tuple[Trial, ...]
    images: int
    source: str
    figure: str
    float_figure: float
    evaluations: int

    @property
    def drop(self) -> FigureDrop:
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
        max_drop: hundredths of the figure that may be lost on it.
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
        self._drops: dict[Precisions, FigureDrop] = {}
        self._evaluations = 0

    def run(self, model: str) -> SearchReport:
        """Finds the quickest precisions within the budget.

        Args:
            model: what the recipe says that it was made for.

        Raises:
            ConfigError: not even dynamic weights keep the budget.
        """
        self._say(f"running {len(self.sample)} validation samples in float32")
        plain = (Precision.FLOAT32,) * len(self.graph.ops)
        self._expected = self._run(plain, self.sample.inputs)
        self._figure = self.sample.score(self._expected, self._expected)
        starts = self.list_starts()
        self._say(f"timing {len(starts)} plans side by side")
        times = self._time(list(starts))
        tried = self._try_from_the_quickest(starts, times)
        within = [p for p in tried if p in self._drops and self._keeps(p, tried[p])]
        if not within:
            best = min(drop.points for drop in self._drops.values())
            raise ConfigError(
                f"no precisions keep within {self.max_drop:g} points: the best loses {best:.2f} of "
                f"{self._figure.name} on {len(self.sample)} samples. Give a larger --max-drop, or "
                "export tflite-float16."
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
            self._say(f"{name}: running {len(self.sample)} validation samples")
            found = self._run(precisions, self.sample.inputs)
            figure = self.sample.score(found, self._expected)
            self._drops[precisions] = self._figure.drop_to(figure)
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
        inputs = take_samples(self.sample.inputs, 0, SENSITIVITY_IMAGES)
        before = self._error(precisions, inputs)
        base = predict(self.graph, precisions, self.costs)
        scores = []
        self._say(f"measuring how much each of {len(rules)} groups costs")
        for number, rule in enumerate(rules):
            candidate = self._without(precisions, [rule])
            gained = before - self._error(candidate, inputs)
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

    def _run(self, precisions: Precisions, inputs: Inputs) -> Outputs:
        self._evaluations += 1
        progress = self.progress if count_samples(inputs) > SENSITIVITY_IMAGES else None
        return self.candidates.run(self._file(precisions), inputs, progress)

    def _error(self, precisions: Precisions, inputs: Inputs) -> float:
        """Mean squared distance to the float file, each output (or column) in its own unit."""
        found = self._run(precisions, inputs)
        return sum(
            _mean_square(found[spec.name], self._expected[spec.name], spec.role is Role.VALUES)
            for spec in self.sample.outputs
        )

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
        drop, images = self._drops[chosen], len(self.sample)
        notes = (
            f"Found by --max-drop {self.max_drop:g} on {images} validation samples of "
            f"{self.sample.source}:",
            f"{self._figure.name}, {describe_drop(drop, drop.interval())}.",
        )
        return SearchReport(
            recipe=recipe_of(self.graph, chosen, model, notes),
            chosen=list(names).index(chosen),
            max_drop=self.max_drop,
            trials=trials,
            images=images,
            source=self.sample.source,
            figure=self._figure.name,
            float_figure=100 * self._figure.value,
            evaluations=self._evaluations,
        )


def describe_drop(drop: FigureDrop, interval: Interval) -> str:
    """ "0.10 points lost (95 % interval -0.30 .. 0.50; 5 images lost, 4 won; McNemar p = 1)"."""
    counts, counted = "", drop.counted
    if counted is not None:
        counts = (
            f"; {counted.lost} images lost, {counted.won} won; McNemar p = {counted.p_value:.2g}"
        )
    ends = f"{interval.low:.2f} .. {interval.high:.2f}"
    return f"{drop.points:.2f} points lost (95 % interval {ends}{counts})"


def _mean_square(found: np.ndarray, expected: np.ndarray, by_column: bool) -> float:
    """Mean squared difference, in units of the variance of all samples that are expected.

    Args:
        found: float N ..., of the first samples.
        expected: float M ..., M >= N.
        by_column: whether each column has its own unit.
    """
    wide = expected.astype(np.float64)
    variance = np.asarray(wide.var(axis=0 if by_column else None))
    square = np.square(found - wide[: len(found)])
    return float((square / np.where(variance > 0, variance, 1.0)).mean())


def _count(precisions: Precisions) -> dict[str, int]:
    counts = Counter(precisions)
    return {str(precision): counts[precision] for precision in PRECISIONS}

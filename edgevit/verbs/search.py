"""The quickest precisions of a tflite-mixed file whose loss of accuracy stays within a budget.

Five starting points: three are planned by the table of kernel costs (every operator may be int8;
delicate ones, that is residual sums, LayerNormalization and attention, stay float; none is), and
two owe nothing to it (weighted layers are int8; everything is that can be). They are timed here,
side by side, and tried from the quickest on. One that loses too much is repaired: for each
group of operators it is measured how much closer to the float logits the file comes without that
group in int8; groups leave in the order of that gain for the time they cost, as many as it takes,
found by bisection. So a search takes about a dozen evaluations, however large the network.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.base.statistics import PairedDrop
from edgevit.bench.measure import measure_interleaved
from edgevit.core.target import Precision
from edgevit.formats.registry import load_session
from edgevit.formats.session import Session
from edgevit.frontend.opening import load_validation
from edgevit.quantization.recipe import Recipe, Rule
from edgevit.verification.parity import find_output, run_all

if TYPE_CHECKING:
    from edgevit.base.statistics import Interval
    from edgevit.data.datasets import ImageDataset
    from edgevit.frontend.source import ExportOptions, Source
    from edgevit.quantization.ranges import RangeRecord

Status = Callable[[str], None]
Progress = Callable[[int, int], None]
VALIDATION_IMAGES = 1000
SENSITIVITY_IMAGES = 32
ROUNDS = 30
Precisions = tuple[Precision, ...]


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


def search_recipe(
    source: Source,
    options: ExportOptions,
    ranges: RangeRecord,
    data: str | Path,
    max_drop: float,
    images: int = VALIDATION_IMAGES,
    status: Status | None = None,
    progress: Progress | None = None,
) -> SearchReport:
    """Finds the quickest precisions within a budget.

    Args:
        source: the model.
        options: of the file; preprocessing must be inside.
        ranges: of activations.
        data: a dataset; only its validation images are used: a seeded fifth of the training
            images, never test images.
        max_drop: percentage points of accuracy that may be lost on them.
        images: size of the sample.
        status: called with a line about what is being done.
        progress: called with (done, in all).

    Raises:
        ConfigError: not even dynamic weights keep the budget.
    """
    say = status or (lambda line: None)
    say("reading validation images")
    sample = load_validation(data, source.preprocess, source.class_names, images, source.folder)
    with tempfile.TemporaryDirectory(prefix="edgevit-") as folder:
        search = _Search(source, options, ranges, sample, Path(folder), say, progress)
        return search.run(max_drop)


class _Search:
    """The state of one search: the graph, the sample, what was tried."""

    def __init__(
        self,
        source: Source,
        options: ExportOptions,
        ranges: RangeRecord,
        sample: ImageDataset,
        folder: Path,
        say: Status,
        progress: Progress | None,
    ):
        from edgevit.formats.tflite.writer.convert import float_graph
        from edgevit.formats.tflite.writer.quantize.plan import read_graph
        from edgevit.quantization.kernel_costs import shipped_costs

        self.source, self.options, self.ranges = source, options, ranges
        self.sample, self.folder, self.say, self.progress = sample, folder, say, progress
        say("lowering the float graph")
        self.data = float_graph(source, options)[0]
        self.graph = read_graph(self.data)
        self.costs = shipped_costs()
        self.files: dict[Precisions, Path] = {}
        self.drops: dict[Precisions, PairedDrop] = {}
        self.evaluations = 0

    def run(self, max_drop: float) -> SearchReport:
        say, plain = self.say, (Precision.FLOAT32,) * len(self.graph.ops)
        say(f"classifying {len(self.sample)} validation images in float32")
        self.expected = self._logits(plain, self.sample.images)
        self.right = self.expected.argmax(-1) == self.sample.labels
        starts = self._starts()
        say(f"timing {len(starts)} plans side by side")
        times = self._time(list(starts))
        tried: dict[Precisions, str] = {}
        for precisions in sorted(starts, key=lambda p: times[p]):
            tried[precisions] = starts[precisions]
            if self._keeps(precisions, max_drop, starts[precisions]):
                break
            if Precision.INT8 in precisions:
                repaired = self._repair(precisions, max_drop)
                if repaired is not None:
                    tried.setdefault(repaired, f"{starts[precisions]}, repaired")
        within = [p for p in tried if p in self.drops and self.drops[p].points <= max_drop]
        if not within:
            best = min(drop.points for drop in self.drops.values())
            raise ConfigError(
                f"no precisions keep within {max_drop:g} points: the best loses {best:.2f} on "
                f"{len(self.sample)} images. Give a larger --max-drop, or export tflite-float16."
            )
        say(f"timing {len(tried)} candidates side by side")
        times = {**times, **self._time(list(tried))}
        chosen = min(within, key=lambda p: times[p])
        names = {**tried, **{p: name for p, name in starts.items() if p not in tried}}
        return self._report(chosen, list(names), names, times, max_drop)

    def _starts(self) -> dict[Precisions, str]:
        from edgevit.formats.tflite.writer.quantize.mixed import has_kernel
        from edgevit.formats.tflite.writer.quantize.plan import plan_precisions
        from edgevit.formats.tflite.writer.quantize.precisions import plan_careful

        int8, ops = Precision.INT8, self.graph.ops
        return {
            tuple(int8 if op.weighted else Precision.FLOAT32 for op in ops): "weighted int8",
            tuple(
                int8 if has_kernel(op.kind, int8) else Precision.FLOAT32 for op in ops
            ): "all int8",
            plan_precisions(self.graph, self.costs, lambda op: False): "dynamic weights",
            plan_careful(self.graph, self.costs): "careful plan",
            plan_precisions(self.graph, self.costs): "quickest plan",
        }

    def _keeps(self, precisions: Precisions, max_drop: float, name: str) -> bool:
        """Whether an assignment stays within the budget on the whole sample."""
        if precisions not in self.drops:
            self.say(f"{name}: classifying {len(self.sample)} validation images")
            logits = self._logits(precisions, self.sample.images)
            right = logits.argmax(-1) == self.sample.labels
            self.drops[precisions] = PairedDrop.of(list(self.right), list(right))
        return self.drops[precisions].points <= max_drop

    def _repair(self, precisions: Precisions, max_drop: float) -> Precisions | None:
        """The assignment with as few groups taken out of int8 as keep the budget."""
        order = self._by_sensitivity(precisions)
        least, most = 1, len(order)
        found = None
        while least <= most:
            count = (least + most) // 2
            candidate = self._without(precisions, order[:count])
            if self._keeps(candidate, max_drop, f"{count} of {len(order)} groups out of int8"):
                found, most = candidate, count - 1
            else:
                least = count + 1
        return found

    def _by_sensitivity(self, precisions: Precisions) -> list[Rule]:
        """Groups in int8, those first whose return to float gains most for the time it costs."""
        from edgevit.formats.tflite.writer.quantize.plan import predict
        from edgevit.formats.tflite.writer.quantize.precisions import recipe_of

        rules = [
            rule
            for rule in recipe_of(self.graph, precisions, "").rules
            if rule.precision is Precision.INT8
        ]
        images = self.sample.images[:SENSITIVITY_IMAGES]
        expected = self.expected[: len(images)]
        before = _error(self._logits(precisions, images), expected)
        base = predict(self.graph, precisions, self.costs)
        scores = []
        self.say(f"measuring how much each of {len(rules)} groups costs in accuracy")
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
        from edgevit.formats.tflite.writer.quantize.plan import plan_precisions

        kept = {
            op.group
            for op, precision in zip(self.graph.ops, precisions, strict=True)
            if precision is Precision.INT8
            and not any(rule.matches(op.layer, op.kind) for rule in rules)
        }
        return plan_precisions(self.graph, self.costs, lambda op: op.group in kept)

    def _logits(self, precisions: Precisions, images: np.ndarray) -> np.ndarray:
        self.evaluations += 1
        with load_session(self._file(precisions)) as session:
            progress = self.progress if len(images) > SENSITIVITY_IMAGES else None
            return run_all(_logits_of(session), images, progress)

    def _file(self, precisions: Precisions) -> Path:
        from edgevit.formats.tflite.runtime.file import parse_model
        from edgevit.formats.tflite.writer.convert import with_corrected_biases
        from edgevit.formats.tflite.writer.quantize.integer import carry_through_reshapes
        from edgevit.formats.tflite.writer.quantize.mixed import write_mixed

        if precisions not in self.files:
            known = carry_through_reshapes(
                parse_model(self.data, "float graph"), self.ranges.ranges
            )
            path = self.folder / f"{len(self.files)}.tflite"
            graph, _ = with_corrected_biases(self.data, self.ranges, self.options, precisions)
            path.write_bytes(write_mixed(graph, known, precisions, "uint8"))
            self.files[precisions] = path
        return self.files[precisions]

    def _time(self, candidates: Sequence[Precisions]) -> dict[Precisions, float]:
        """Median ms of each, interleaved, one thread."""
        batch = np.repeat(self.sample.images[:1], self.options.batch or 1, axis=0)
        with contextlib.ExitStack() as stack:
            calls = {}
            for number, precisions in enumerate(candidates):
                session = stack.enter_context(load_session(self._file(precisions), threads=1))
                calls[str(number)] = session.bind(batch)
            samples = measure_interleaved(calls, ROUNDS, runs=3, warmup=5)
        return {p: samples.median_ms(str(n)) for n, p in enumerate(candidates)}

    def _report(
        self,
        chosen: Precisions,
        order: list[Precisions],
        names: dict[Precisions, str],
        times: dict[Precisions, float],
        max_drop: float,
    ) -> SearchReport:
        from edgevit.formats.tflite.writer.quantize.precisions import recipe_of

        trials = tuple(Trial(names[p], self.drops.get(p), times[p], dict(_count(p))) for p in order)
        drop = self.drops[chosen]
        interval = drop.interval()
        notes = (
            f"Found by --max-drop {max_drop:g} on {len(self.sample)} validation images of "
            f"{self.sample.source}:",
            f"{describe_drop(drop, interval)}.",
        )
        return SearchReport(
            recipe=recipe_of(self.graph, chosen, self.source.name, notes),
            chosen=order.index(chosen),
            max_drop=max_drop,
            trials=trials,
            images=len(self.sample),
            source=self.sample.source,
            accuracy=100 * float(self.right.mean()),
            evaluations=self.evaluations,
        )


def describe_drop(drop: PairedDrop, interval: Interval) -> str:
    """ "0.10 points lost (95 % interval -0.30 .. 0.50; 5 images lost, 4 won; McNemar p = 1)"."""
    return (
        f"{drop.points:.2f} points lost (95 % interval {interval.low:.2f} .. {interval.high:.2f}; "
        f"{drop.lost} images lost, {drop.won} won; McNemar p = {drop.p_value:.2g})"
    )


def _logits_of(session: Session) -> Callable[[np.ndarray], np.ndarray]:
    return lambda images: find_output(session.run(images), "logits", session)


def _error(logits: np.ndarray, expected: np.ndarray) -> float:
    return float(np.square(logits.astype(np.float64) - expected).mean())


def _count(precisions: Precisions) -> Iterator[tuple[str, int]]:
    for precision in (Precision.INT8, Precision.DYNAMIC, Precision.FLOAT32):
        yield str(precision), sum(found is precision for found in precisions)

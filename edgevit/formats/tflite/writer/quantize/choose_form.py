"""Which steps before rounding a network gains from, measured on its calibration samples.

No step is better for every network: levelled channels take a decibel from one that another gains.
So a file is written without them, then with one more after the other, and a step stays where the
file's outputs are nearer to the float graph's, by more than chance gives. It is judged on samples
that nothing was learnt from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgevit.base.errors import EdgevitError
from edgevit.base.workspace import open_workspace
from edgevit.core.target import Precision
from edgevit.formats.passes import report_lines
from edgevit.formats.tflite.runtime.litert import LiteRTSession
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.observe import observe_activations
from edgevit.formats.tflite.writer.quantize.avoid_ties import avoid_ties
from edgevit.formats.tflite.writer.quantize.correct_biases import correct_biases, entering_names
from edgevit.formats.tflite.writer.quantize.cut_ranges import cut_ranges
from edgevit.formats.tflite.writer.quantize.float_graph import describe_graph
from edgevit.formats.tflite.writer.quantize.gate_hard_swish import gate_hard_swish, gated_names
from edgevit.formats.tflite.writer.quantize.integer import Ranges
from edgevit.formats.tflite.writer.quantize.learn_rounding import learn_rounding
from edgevit.formats.tflite.writer.quantize.level_channels import channel_names, level_channels
from edgevit.formats.tflite.writer.quantize.narrow_ranges import Ends, list_loose_ends
from edgevit.quantization.choice import Errors, fold, is_nearer, relative_errors, shake
from edgevit.quantization.observer import Observer
from edgevit.quantization.ranges import RangeRecord
from edgevit.quantization.trial import Inputs, Trial

MOST_BYTES = 1 << 26  # of the outputs that files are compared on
MOST_TIMES = 4  # that each sample is run, so that chance hides less
MOST_PRODUCTS = 20_000_000_000  # of a file's runs beyond the first of each sample: about a second


@dataclass(frozen=True)
class Form:
    """Steps that rewrite a float graph for integers, each kept where it pays.

    Attributes:
        gates: hard swishes become gates, so that channels get levels of their own.
        levels: channels get sizes that 256 levels suit.
        biases: the mean error of rounded weights goes off each bias.
        learned: weights are rounded for what enters them; biases are corrected with them.
        width: of the ranges, as a share of what the samples showed.
    """

    gates: bool = False
    levels: bool = False
    biases: bool = False
    learned: bool = False
    width: float = 1.0


Step = Mapping[str, Any]  # fields of a Form
# Each group is tried upon what the groups before have left; its first step that pays is taken, and
# the others of the group are not tried. Levels make weights of very different size, whose rounding
# moves means: without learning or correction they cost more than they bring.
GATES: tuple[Step, ...] = ({"gates": True, "biases": True},)
GROUPS: tuple[tuple[Step, ...], ...] = (
    ({"levels": True, "learned": True}, {"learned": True}, {"biases": True}),
    ({"width": 0.9},),
    ({"width": 0.8},),
)


@dataclass(frozen=True)
class Built:
    """A finished file of one form.

    Attributes:
        graph: integers.
        steps: for the manifest.
        unchanged: the bytes that the graph was read from, if nothing was rewritten since.
    """

    graph: TfliteGraph
    steps: tuple[str, ...]
    unchanged: bytes | None


@dataclass(frozen=True)
class Rewritten:
    """A float graph of one form, ready to be quantised.

    Attributes:
        graph: float32.
        ranges: (smallest, largest) by tensor name.
        ends: of them that may be drawn in.
        steps: for the manifest.
    """

    graph: TfliteGraph
    ranges: Ranges
    ends: Ends
    steps: tuple[str, ...]


def rewrite(
    graph: TfliteGraph, record: RangeRecord, form: Form, trial: OpenedTrial | None
) -> Rewritten:
    """The steps of a form on a copy of a float graph.

    Args:
        graph: float32; it stays as it is.
        record: of its tensors.
        form: the width is left alone.
        trial: samples to learn rounding from.
    """
    ends = list_loose_ends(graph)
    if trial:
        record = replace(record, ranges=avoid_ties(graph, record.ranges, trial.raw))
    graph, reports = graph.copy(), []
    if form.gates:
        record, report = gate_hard_swish(graph, record)
        reports.append(report)
    if form.levels:
        record, report = level_channels(graph, record)
        reports.append(report)
    ranges = cut_ranges(graph, record.ranges)
    if form.learned and trial:
        reports.append(learn_rounding(graph, ranges, trial.learnt))
    elif form.biases:
        precisions = [Precision.INT8] * len(graph.operators)
        reports.append(correct_biases(graph, record.means, precisions))
    return Rewritten(graph, ranges, ends, report_lines(reports))


class OpenedTrial:
    """Samples as a float graph takes them, and what the graph makes of them.

    Args:
        graph: float32, a batch of one; it stays as it is.
        trial: the raw samples.
        enter: makes of raw samples what the graph takes.
        raw: names of the graph's inputs that take pixels, 0..255.
    """

    def __init__(
        self,
        graph: TfliteGraph,
        trial: Trial,
        enter: Callable[[Inputs], Mapping[str, np.ndarray]],
        raw: Sequence[str] = (),
    ):
        self.say, self.raw = trial.say, raw
        self.learnt = enter(trial.learnt)
        outputs = sum(math.prod(graph.shape(int(index))) for index in graph.graph.outputs)
        most = MOST_BYTES // (4 * max(1, outputs))
        judged = {name: values[:most] for name, values in trial.judged.items()}
        count = len(next(iter(judged.values())))
        products = count * sum(op.size.macs for op in describe_graph(graph).ops)
        times = min(most // max(1, count), MOST_PRODUCTS // max(1, products), MOST_TIMES)
        shaken, self.times = shake(judged, max(1, times))
        self.judged = enter(shaken)
        self._graph, self._kept = graph, trial.kept

    @property
    def wanted(self) -> dict[str, np.ndarray]:
        """The float graph's outputs on what is judged by."""
        if "wanted" not in self._kept:
            self._kept["wanted"] = run_graph(self._graph, self.judged)
        wanted: dict[str, np.ndarray] = self._kept["wanted"]
        return wanted

    def add_statistics(self, record: RangeRecord) -> RangeRecord:
        """The record with means and channels of what layers write and read."""
        if "statistics" not in self._kept:
            observer = Observer()
            observer.averaged = entering_names(self._graph)
            observer.divided = channel_names(self._graph) | gated_names(self._graph)
            self._kept["statistics"] = observe_activations(self._graph, self.learnt, observer)
        found = self._kept["statistics"]
        means = {name: value.means for name, value in found.items() if value.means}
        channels = {n: value.channels.to_text() for n, value in found.items() if value.channels}
        return replace(
            record, means={**means, **record.means}, channels={**channels, **record.channels}
        )


def choose_form(
    build: Callable[[Form], Built], first: Form, trial: OpenedTrial, gates: bool
) -> Built:
    """The file of the form that brings outputs nearest to the float graph's.

    Args:
        build: writes a file of a form.
        first: what is there whatever the samples say.
        trial: the samples.
        gates: whether hard swishes may become several operators.
    """
    form, best = first, build(first)
    errors = _measure(best, trial)
    groups = (GATES, *GROUPS) if gates and "HARD_SWISH" in best.graph.kinds else GROUPS
    for number, group in enumerate(groups, 1):
        trial.say(f"trying what the calibration samples gain from, {number} of {len(groups)}")
        for step in group:
            further = replace(form, **step)
            found = _try(build, further, trial) if _is_new(form, step) else None
            if found and _pays(step, found[1], errors):
                form, (best, errors) = further, found
                break
    return best


def _pays(step: Step, after: Errors, before: Errors) -> bool:
    """Whether a step brings outputs nearer; one that cuts ranges must spare rare samples too."""
    powers = (1, 2) if "width" in step else (1,)
    return all(is_nearer(after, before, power) for power in powers)


def _is_new(form: Form, step: Step) -> bool:
    """Whether a step changes a form; ranges become narrower one step after the other."""
    if "width" in step:
        widths = [1.0, *(step["width"] for (step,) in GROUPS[1:])]
        return form.width == widths[widths.index(step["width"]) - 1]
    return replace(form, **step) != form


def _try(
    build: Callable[[Form], Built], form: Form, trial: OpenedTrial
) -> tuple[Built, dict[str, np.ndarray]] | None:
    """None where a form cannot be written or run, as others can."""
    try:
        built = build(form)
        return built, _measure(built, trial)
    except EdgevitError:
        return None


def _measure(built: Built, trial: OpenedTrial) -> dict[str, np.ndarray]:
    return fold(relative_errors(run_graph(built.graph, trial.judged), trial.wanted), trial.times)


def run_graph(graph: TfliteGraph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of a graph, N ... by name, as real numbers."""
    with open_workspace() as folder:
        path = folder / "form.tflite"
        path.write_bytes(graph.to_bytes())
        with LiteRTSession(path) as session:
            return session.run(inputs)

"""A search for the quickest precisions of a tflite-mixed file within a budget of accuracy.

Its candidates are what an export with their recipe and the user's options would publish.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgevit.base.workspace import open_workspace
from edgevit.bench.measure import measure_interleaved
from edgevit.core.samples import Inputs
from edgevit.data.datasets import ImageDataset
from edgevit.data.evaluation import load_validation
from edgevit.formats.registry import load_session
from edgevit.formats.session import draw_input
from edgevit.quantization.kernel_costs import shipped_costs
from edgevit.quantization.planner import FloatGraph
from edgevit.quantization.precisions import recipe_of
from edgevit.quantization.search import Precisions, Progress, Sample, Search, SearchReport, Status
from edgevit.tasks import find_task
from edgevit.tasks.figures import Figure, Outputs
from edgevit.verbs.labelled import load_labelled
from edgevit.verification.parity import run_outputs

if TYPE_CHECKING:
    from edgevit.formats.tflite.options import TfliteOptions
    from edgevit.frontend.source import Source
    from edgevit.quantization.ranges import RangeRecord

VALIDATION_IMAGES = 1000
ROUNDS = 30


def search_recipe(
    source: Source,
    options: TfliteOptions,
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
        data: what the task is measured on; of a dataset of classes only validation images are
            used: a seeded fifth of the training images, never test images. On unlabelled samples
            the float32 file is what is true.
        max_drop: hundredths of the task's figure that may be lost.
        images: size of the sample.
        status: called with a line about what is being done.
        progress: called with (done, in all).

    Raises:
        ConfigError: not even dynamic weights keep the budget, or data of another task.
    """
    from edgevit.formats.tflite.writer.convert import float_graph
    from edgevit.formats.tflite.writer.quantize.float_graph import describe_graph

    say = status or (lambda line: None)
    say("reading validation samples")
    sample = read_sample(source, data, images)
    say("lowering the float graph")
    graph = describe_graph(float_graph(source, options)[0])
    with open_workspace() as folder:
        files = MixedFiles(source, options, ranges, graph, folder)
        search = Search(graph, shipped_costs(), files, sample, max_drop, status, progress)
        return search.run(source.name)


def read_sample(source: Source, data: str | Path, images: int) -> Sample:
    """What a budget is measured on; arguments as of :func:`search_recipe`."""
    task, signature = find_task(source.task), source.signature

    def read_classes() -> ImageDataset:
        found = source.picture_size, source.class_names, images, source.share_unseen
        return load_validation(data, *found, channels=source.channels)

    labelled = load_labelled(data, task, signature, read_classes, images)

    def score(found: Outputs, expected: Outputs) -> Figure:
        truth = replace(labelled.truth, outputs=expected)
        return task.score(found, truth, signature, source.class_names).figure

    return Sample(
        labelled.inputs,
        labelled.source,
        score,
        task.measured_outputs(signature, labelled.truth.known),
    )


@dataclass
class MixedFiles:
    """Files of the target tflite-mixed; see :class:`edgevit.quantization.search.Candidates`.

    Attributes:
        source: the model.
        options: of each file, but for its recipe.
        ranges: of activations.
        graph: operators of the float graph.
        folder: where the files are written.
        count: files so far.
    """

    source: Source
    options: TfliteOptions
    ranges: RangeRecord
    graph: FloatGraph
    folder: Path
    count: int = 0

    def write(self, precisions: Precisions) -> Path:
        from edgevit.formats.tflite.writer.convert import write_mixed

        path = self.folder / f"{self.count}.tflite"
        self.count += 1
        options = replace(self.options, recipe=recipe_of(self.graph, precisions, self.source.name))
        write_mixed(self.source, options, self.ranges, path).finish({})
        return path

    def run(self, path: Path, inputs: Inputs, progress: Progress | None) -> Outputs:
        with load_session(path) as session:
            return run_outputs(session.run, inputs, progress)

    def time(self, paths: Sequence[Path]) -> list[float]:
        with contextlib.ExitStack() as stack:
            calls = {}
            for path in paths:
                session = stack.enter_context(load_session(path, threads=1))
                calls[path.name] = session.bind(draw_input(session, self.options.batch))
            samples = measure_interleaved(calls, ROUNDS, runs=3, warmup=5)
        return [samples.median_ms(path.name) for path in paths]

"""Accuracy of an exported file or of a float model over a dataset's test or validation images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.base.progress import Progress, Status, tells_progress
from edgevit.core.manifest import CLASSIFICATION
from edgevit.core.parity import AccuracyReport, FloatFigures, TaskReport
from edgevit.core.signature import Role, Signature
from edgevit.data.datasets import ImageDataset
from edgevit.data.degradations import DEGRADATIONS, Degradation
from edgevit.data.evaluation import load_test, load_validation
from edgevit.formats.registry import open_session, read_metadata
from edgevit.formats.session import Session, find_picture, image_size, read_signature
from edgevit.frontend.opening import Opening, is_exported, open_source
from edgevit.frontend.source import Source
from edgevit.sweeps.shards import Workers, join_outputs, run_shards, whole_name
from edgevit.tasks import find_task
from edgevit.tasks.classification import both_classes
from edgevit.tasks.figures import Known, Outputs, Score
from edgevit.tasks.task import Task
from edgevit.verbs.foreign import as_exported, find_scores, matched, scale_inputs
from edgevit.verbs.labelled import load_labelled
from edgevit.verification.parity import find_output, run_outputs, score

if TYPE_CHECKING:
    import keras

AS_IS = "as is"
TEST, VALIDATION = SPLITS = ("test", "validation")


@dataclass(frozen=True)
class Opened:
    """A model that can be run on samples, whatever it is.

    Attributes:
        run: inputs by name -> outputs by name.
        signature: of the model.
        task: what it is for.
        names: of its classes or quantities.
        runtime: what runs it.
        find_picture: () -> ((rows, columns), channels) of the raw pictures that it takes; raises
            what the model raises that takes none.
        share_unseen: see :meth:`edgevit.frontend.source.Source.share_unseen`; None for a file.
        float_run: likewise, the float model that a file is held against; None: none is named.
    """

    run: Callable[[Any], Outputs]
    signature: Signature
    task: Task
    names: tuple[str, ...]
    runtime: str
    find_picture: Callable[[], tuple[tuple[int, int], int]]
    share_unseen: Callable[[str], float] | None = None
    float_run: Callable[[Any], Outputs] | None = None


RunSide = Callable[[str, Opened, Any, Progress | None], Outputs]
FILE, FLOAT, SCORES = "file", "float", "scores"  # what is run; scores are of the main output alone


def _side(name: str, found: Opened) -> Callable[[Any], Outputs]:
    if name == SCORES:
        scores = _scores(found)
        return lambda inputs: {SCORES: scores(inputs)}
    run = found.float_run if name == FLOAT else found.run
    assert run is not None  # asked for only where a float model is named
    return run


def run_here(side: str, found: Opened, inputs: Any, progress: Progress | None) -> Outputs:
    """Runs samples in this process."""
    return run_outputs(_side(side, found), inputs, progress)


@dataclass(frozen=True)
class Reopened:
    """How another process opens the same model; arguments of :func:`opened`.

    Attributes:
        model, kernels, opening, against: see there.
        side: which of its sides is run.
    """

    model: str
    kernels: str | None
    opening: dict[str, Any]
    against: str | None
    side: str


@contextmanager
def open_side(wanted: Reopened) -> Iterator[Callable[[Any], Outputs]]:
    """What runs samples, in another process."""
    opening: Any = wanted.opening
    against = None if wanted.side == SCORES else wanted.against
    with opened(wanted.model, wanted.kernels, lambda line: None, opening, against) as found:
        yield partial(run_outputs, _side(wanted.side, found))


def _choose_runner(
    workers: Workers | None,
    model: str | Path | keras.Model,
    kernels: str | None,
    opening: Opening,
    against: str | Path | keras.Model | None = None,
) -> RunSide:
    """What runs samples: this process, or several.

    Raises:
        ConfigError: a model in memory, which other processes do not have.
    """
    if workers is None:
        return run_here
    others = None if against is None else whole_name(against)
    shared = Reopened(whole_name(model), kernels, dict(opening), others, "")
    files = [Path(name) for name in (shared.model, others) if name and Path(name).exists()]

    def run(side: str, found: Opened, inputs: Any, progress: Progress | None) -> Outputs:
        wanted = replace(shared, side=side)
        place = f"{__name__}:{open_side.__name__}"
        return join_outputs(run_shards(place, wanted, inputs, workers, files, progress))

    return run


@contextmanager
def opened(
    model: str | Path | keras.Model,
    kernels: str | None,
    say: Status,
    opening: Opening,
    against: str | Path | keras.Model | None = None,
) -> Iterator[Opened]:
    """Opens an exported file in its runtime, or a float model in Keras.

    Raises:
        ConfigError: a float model to hold another float model against.
    """
    if isinstance(model, (str, Path)) and is_exported(Path(model)):
        with open_session(Path(model), kernels) as session:
            if against is None:
                yield _of_file(session, opening)
            else:
                say("loading the float model")
                yield _beside_float(session, open_source(against, **opening), str(against))
        return
    if against is not None:
        raise ConfigError(f"{model}: is a float model itself. Drop --against, or name a file.")
    from edgevit.frontend.record_reference import float_outputs

    say("loading the model")
    source = open_source(model, **opening)
    yield Opened(
        partial(float_outputs, source),
        source.signature,
        find_task(source.task),
        source.class_names,
        "keras",
        lambda: (source.picture_size, source.channels),
        source.share_unseen,
    )


def _of_file(session: Session, opening: Opening) -> Opened:
    """A file alone: what its manifest says of it, or what the user does."""
    manifest, signature = session.manifest, read_signature(session)
    names = opening.get("class_names") or (manifest.class_names if manifest else ())
    task = find_task(opening.get("task") or (manifest.task if manifest else CLASSIFICATION))
    if manifest is None:
        signature = find_scores(signature, names)
    run = _scaled(session, opening.get("scaling"))
    return Opened(run, signature, task, names, session.runtime, partial(_picture_of, session))


def _beside_float(session: Session, source: Source, against: str) -> Opened:
    """A file beside the float model, which says what its outputs are.

    Raises:
        ConfigError: another model than the file was made of.
    """
    from edgevit.frontend.record_reference import float_outputs

    run: Callable[[Any], Outputs] = session.run
    if session.manifest is None:
        run = matched(source, [])(session).run
    else:
        source = as_exported(source, session.manifest, against)
    return Opened(
        run,
        source.signature,
        find_task(source.task),
        source.class_names,
        session.runtime,
        lambda: (source.picture_size, source.channels),
        float_run=partial(float_outputs, source),
    )


def evaluate_task(
    model: str | Path | keras.Model,
    data: str | Path,
    kernels: str | None = None,
    status: Status | None = None,
    progress: Progress | None = None,
    against: str | Path | keras.Model | None = None,
    limit: int | None = None,
    workers: Workers | None = None,
    **opening: Unpack[Opening],
) -> TaskReport:
    """Figures of a model's own task over samples.

    Args:
        model: an exported file, or what :func:`edgevit.frontend.opening.open_source` takes.
        data: what the task is measured on (:attr:`edgevit.tasks.task.Task.truths`); for an exported
            file beside ``against``, unlabelled samples too.
        kernels: a kernel set, for an exported file.
        status: called with a line about what is being done.
        progress: called with (samples done, samples in all).
        against: the float model that the file was made of; its figures stand beside the file's.
        limit: only so many samples, drawn by a fixed seed; None: all.
        workers: processes that share the samples; None: this one.
        **opening: of the float model: see :class:`edgevit.frontend.opening.Opening`.

    Raises:
        ConfigError: data that the task is not measured on, or another float model.
        DataError: the data cannot be read.
    """
    say = status or (lambda line: None)
    started = time.perf_counter()
    run_side = _choose_runner(workers, model, kernels, opening, against)
    with opened(model, kernels, say, opening, against) as found:
        say("reading the samples")
        read = partial(_read_images, data, TEST, found, limit)
        labelled = load_labelled(data, found.task, found.signature, read, limit)
        unlabelled = labelled.truth.known is Known.NOTHING
        if unlabelled and found.float_run is None:
            raise ConfigError(
                f"{data}: says nothing of its samples, so only a file can be measured on them, "
                f"against its float model: name that by --against. {_describe_truths(found.task)}"
            )
        say(f"running {len(labelled)} samples with {found.runtime}")
        outputs = run_side(FILE, found, labelled.inputs, progress)
        wanted = found.task.measured_outputs(found.signature, labelled.truth.known)
        outputs = {spec.name: find_output(outputs, spec.name, str(model)) for spec in wanted}
        expected = None
        if found.float_run is not None:
            say(f"running {len(labelled)} samples with float Keras")
            expected = run_side(FLOAT, found, labelled.inputs, progress)
        truth = replace(labelled.truth, outputs=expected if unlabelled else None)
        own = found.task.score(outputs, truth, found.signature, found.names)
        beside = None
        if expected is not None and not unlabelled:
            float_score = found.task.score(expected, truth, found.signature, found.names)
            beside = _compare(float_score, own)
        interval = own.figure.interval
        return TaskReport(
            found.task.name,
            len(labelled),
            own.figures,
            own.rows,
            found.runtime,
            labelled.source,
            time.perf_counter() - started,
            own.figure.name,
            (interval.low, interval.high),
            beside,
        )


def _describe_truths(task: Task) -> str:
    """What else a task is measured on, as a sentence; nothing where there is nothing else."""
    return f"Without: {' or '.join(task.truths)}." if task.truths else ""


def _compare(float_score: Score, score: Score) -> FloatFigures:
    """The float model's figures, and what the file loses of the first."""
    drop = float_score.figure.drop_to(score.figure)
    interval = drop.interval()
    return FloatFigures(float_score.figures, drop.points, (interval.low, interval.high))


def needs_task_report(model: str | Path, data: str | Path, task: str | None) -> bool:
    """Whether top-1 accuracy is not what a model is measured by: the data or its task says so."""
    path = Path(data)
    if path.suffix.lower() in (".csv", ".tsv") or (path / "masks").is_dir():
        return True
    if task not in (None, CLASSIFICATION):
        return True
    if not is_exported(Path(model)):
        return False
    manifest = read_metadata(Path(model)).manifest
    return manifest is not None and manifest.task != CLASSIFICATION


@tells_progress
def evaluate(
    model: str | Path,
    data: str | Path,
    limit: int | None = None,
    kernels: str | None = None,
    status: Status | None = None,
    progress: Progress | None = None,
    split: str = TEST,
    workers: Workers | None = None,
    **opening: Unpack[Opening],
) -> AccuracyReport:
    """Top-1 and top-5 over a dataset's test images, or those that choices are made by.

    Args:
        model: an exported file, an architecture's name, or a .keras or .safetensors file.
        data: a dataset; see :func:`edgevit.data.datasets.load_dataset`.
        limit: only so many images, drawn by a fixed seed; None: all.
        kernels: a kernel set, for an exported file.
        status: called with a line about what is being done.
        progress: called with (images done, images in all).
        split: "test", or "validation": the training images that were held out from all that is
            behind a float model's weights (:func:`edgevit.data.evaluation.load_validation`).
        workers: processes that share the images; None: this one.
        **opening: for a float model: see :class:`edgevit.frontend.opening.Opening`.

    Raises:
        ConfigError: validation images of an exported file, which does not tell what its weights
            have seen; an unknown split.
    """
    arguments = model, data, limit, kernels, status, progress, split
    found = evaluate_robustness(*arguments, degradations=(), workers=workers, **opening)
    return found[AS_IS]


def evaluate_robustness(
    model: str | Path,
    data: str | Path,
    limit: int | None = None,
    kernels: str | None = None,
    status: Status | None = None,
    progress: Progress | None = None,
    split: str = TEST,
    degradations: Sequence[Degradation] = DEGRADATIONS,
    workers: Workers | None = None,
    **opening: Unpack[Opening],
) -> dict[str, AccuracyReport]:
    """Accuracy on the images as they are, and after each of some degradations.

    Args:
        model: see :func:`evaluate`; so are the others.
        degradations: of all images.

    Returns:
        "as is", then the name of each degradation. All on the same images.
    """
    say = status or (lambda line: None)
    if split not in SPLITS:
        raise ConfigError(f"split must be one of {SPLITS}. Received: split={split!r}")
    if split != TEST and is_exported(Path(model)):
        raise ConfigError(
            f"{model}: an exported file does not tell which images its weights were trained on. "
            "Evaluate the model that it was made of, or drop --split."
        )
    run_side = _choose_runner(workers, model, kernels, opening)
    with opened(model, kernels, say, opening) as source:
        _scores(source)  # refuses before anything slow
        say(f"reading the {split} images")
        dataset = _read_images(data, split, source, limit)
        found = {}
        for name, images in _variants(dataset.images, degradations):
            if degradations:
                say(f"{name}: {len(dataset):,} {split} images")
            started = time.perf_counter()
            scores = run_side(SCORES, source, images, progress)[SCORES]
            seconds = time.perf_counter() - started
            found[name] = score(scores, dataset.labels, source.runtime, dataset.source, seconds)
    return found


def _read_images(data: str | Path, split: str, found: Opened, limit: int | None) -> ImageDataset:
    """Test or validation images of the size that a model takes."""
    size, channels = found.find_picture()
    if split == TEST or found.share_unseen is None:
        return load_test(data, size, found.names, limit, channels=channels)
    return load_validation(data, size, found.names, limit, found.share_unseen, channels=channels)


def _picture_of(session: Session) -> tuple[tuple[int, int], int]:
    """((rows, columns), channels) of the one input of a file that takes pictures."""
    return image_size(session), find_picture(session).shape[-1] or 3


def _scaled(session: Session, scaling: str | None) -> Callable[[Any], Outputs]:
    """What runs raw pixels: another tool's file may want them scaled.

    Raises:
        ConfigError: a scaling for a file that says itself what it takes.
    """
    if scaling is not None and session.manifest is not None:
        raise ConfigError(f"{session.path}: says itself which pixels it takes. Drop --scaling.")
    return lambda inputs: session.run(scale_inputs(inputs, scaling))


def _scores(source: Opened) -> Callable[[np.ndarray], np.ndarray]:
    """The output that tells classes apart alone.

    Raises:
        ConfigError: the model tells none apart.
    """
    output = source.task.main_output(source.signature)
    if output.role not in (Role.LOGITS, Role.PROBABILITIES):
        raise ConfigError(
            f"a model for {source.task.name} has no top-1 accuracy: its output {output.name!r} "
            f"holds {output.role}. Give --task classification if it tells classes apart."
        )

    def scores(images: np.ndarray) -> np.ndarray:
        found = find_output(source.run(images), output.name, source.runtime)
        return both_classes(found, output)

    return scores


def _variants(
    images: np.ndarray, degradations: Sequence[Degradation]
) -> Iterator[tuple[str, np.ndarray]]:
    yield AS_IS, images
    for way in degradations:
        yield way.name, way.apply(images)

"""Accuracy of an exported file or of a float model over a dataset's test or validation images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.base.progress import Progress, Status
from edgevit.core.manifest import CLASSIFICATION
from edgevit.core.parity import AccuracyReport, TaskReport
from edgevit.core.signature import Role, Signature
from edgevit.data.degradations import DEGRADATIONS, Degradation
from edgevit.data.evaluation import load_test, load_validation
from edgevit.data.masks import load_masks
from edgevit.data.values import load_values
from edgevit.formats.registry import open_session, read_metadata
from edgevit.formats.session import Session, find_picture, image_size, read_signature
from edgevit.frontend.opening import Opening, is_exported, open_source
from edgevit.tasks import find_task
from edgevit.tasks.scores import score_labels, score_masks, score_values
from edgevit.tasks.task import Task
from edgevit.verbs.foreign import find_scores, scale_inputs
from edgevit.verification.parity import measure_accuracy, run_outputs

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
    """

    run: Callable[[Any], dict[str, np.ndarray]]
    signature: Signature
    task: Task
    names: tuple[str, ...]
    runtime: str
    find_picture: Callable[[], tuple[tuple[int, int], int]]
    share_unseen: Callable[[str], float] | None = None


@contextmanager
def opened(
    model: str | Path | keras.Model, kernels: str | None, say: Status, opening: Opening
) -> Iterator[Opened]:
    """Opens an exported file in its runtime, or a float model in Keras."""
    asked = opening.get("task")
    if isinstance(model, (str, Path)) and is_exported(Path(model)):
        with open_session(Path(model), kernels) as session:
            manifest, signature = session.manifest, read_signature(session)
            names = opening.get("class_names") or (manifest.class_names if manifest else ())
            task = find_task(asked or (manifest.task if manifest else CLASSIFICATION))
            if manifest is None:
                signature = find_scores(signature, names)
            run = _scaled(session, opening.get("scaling"))
            picture = partial(_picture_of, session)
            yield Opened(run, signature, task, names, session.runtime, picture)
        return
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


def evaluate_task(
    model: str | Path | keras.Model,
    data: str | Path,
    kernels: str | None = None,
    status: Status | None = None,
    progress: Progress | None = None,
    **opening: Unpack[Opening],
) -> TaskReport:
    """Figures of a model's own task over labelled samples.

    Args:
        model: an exported file, or what :func:`edgevit.frontend.opening.open_source` takes.
        data: for segmentation, a folder of ``images/`` and ``masks/``; for regression and for
            several labels at once, a CSV that names a picture and its values in each row.
        kernels: a kernel set, for an exported file.
        status: called with a line about what is being done.
        progress: called with (samples done, samples in all).
        **opening: for a float model: see :class:`edgevit.frontend.opening.Opening`.

    Raises:
        ConfigError: a task that has no figures, or data of another one.
        DataError: the data cannot be read.
    """
    say = status or (lambda line: None)
    started = time.perf_counter()
    with opened(model, kernels, say, opening) as found:
        output = found.task.main_output(found.signature)
        if output.role is Role.MASK:
            say("reading pictures and masks")
            masks = load_masks(data, found.signature, output.shape[-1] or 1)
            inputs: Any = masks.images
            count, source = len(masks), masks.source
        elif output.role in (Role.VALUES, Role.PROBABILITIES, Role.LOGITS):
            say("reading the table")
            table = load_values(data, found.signature)
            inputs, count, source = table.inputs, len(table), table.source
        else:
            raise ConfigError(
                f"a model for {found.task.name} whose output {output.name!r} holds {output.role} "
                "has no figures against labels. 'edgevit verify --against' compares it with the "
                "float model; --task says what else it may be for."
            )
        say(f"running {count} samples with {found.runtime}")
        outputs = run_outputs(found.run, inputs, progress)
        values = outputs.get(output.name)
        values = next(iter(outputs.values())) if values is None else values
        if output.role is Role.MASK:
            score = score_masks(values, masks.masks, output, found.names)
        elif output.role is Role.VALUES:
            score = score_values(values, table.targets, table.columns)
        else:
            score = score_labels(values, table.targets, table.columns, output)
        seconds = time.perf_counter() - started
        return TaskReport(
            found.task.name, count, score.figures, score.rows, found.runtime, source, seconds
        )


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


def evaluate(
    model: str | Path,
    data: str | Path,
    limit: int | None = None,
    kernels: str | None = None,
    status: Status | None = None,
    progress: Progress | None = None,
    split: str = TEST,
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
        **opening: for a float model: see :class:`edgevit.frontend.opening.Opening`.

    Raises:
        ConfigError: validation images of an exported file, which does not tell what its weights
            have seen; an unknown split.
    """
    arguments = model, data, limit, kernels, status, progress, split
    return evaluate_robustness(*arguments, degradations=(), **opening)[AS_IS]


def evaluate_robustness(
    model: str | Path,
    data: str | Path,
    limit: int | None = None,
    kernels: str | None = None,
    status: Status | None = None,
    progress: Progress | None = None,
    split: str = TEST,
    degradations: Sequence[Degradation] = DEGRADATIONS,
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
            f"{model}: an exported file does not tell which images its weights learnt from. "
            "Evaluate the model that it was made of, or drop --split."
        )
    with opened(model, kernels, say, opening) as source:
        run = _scores(source)
        say(f"reading the {split} images")
        size, channels = source.find_picture()
        if split == TEST or source.share_unseen is None:
            dataset = load_test(data, size, source.names, limit, channels=channels)
        else:
            dataset = load_validation(
                data, size, source.names, limit, source.share_unseen, channels=channels
            )
        found = {}
        for name, images in _variants(dataset.images, degradations):
            if degradations:
                say(f"{name}: {len(dataset):,} {split} images")
            found[name] = measure_accuracy(
                run, images, dataset.labels, source.runtime, dataset.source, progress
            )
    return found


def _picture_of(session: Session) -> tuple[tuple[int, int], int]:
    """((rows, columns), channels) of the one input of a file that takes pictures."""
    return image_size(session), find_picture(session).shape[-1] or 3


def _scaled(session: Session, scaling: str | None) -> Callable[[Any], dict[str, np.ndarray]]:
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
        found = source.run(images)
        return found[output.name] if output.name in found else next(iter(found.values()))

    return scores


def _variants(
    images: np.ndarray, degradations: Sequence[Degradation]
) -> Iterator[tuple[str, np.ndarray]]:
    yield AS_IS, images
    for way in degradations:
        yield way.name, way.apply(images)

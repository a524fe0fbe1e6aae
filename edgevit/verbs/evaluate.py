"""Accuracy of an exported file or of a float model over a dataset's test or validation images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np

from edgevit.base.errors import ConfigError
from edgevit.base.progress import Progress, Status
from edgevit.core.manifest import CLASSIFICATION
from edgevit.core.parity import AccuracyReport
from edgevit.core.signature import Role, Signature
from edgevit.data.degradations import DEGRADATIONS, Degradation
from edgevit.data.evaluation import load_test, load_validation
from edgevit.formats.registry import open_session
from edgevit.formats.session import find_picture, image_size, read_signature
from edgevit.frontend.opening import Opening, is_exported, open_source
from edgevit.tasks import find_task
from edgevit.verification.parity import measure_accuracy

AS_IS = "as is"
TEST, VALIDATION = SPLITS = ("test", "validation")


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
    path = Path(model)
    with ExitStack() as stack:
        if is_exported(path):
            if split != TEST:
                raise ConfigError(
                    f"{path}: an exported file does not tell which images its weights learnt from. "
                    "Evaluate the model that it was made of, or drop --split."
                )
            session = stack.enter_context(open_session(path, kernels))
            say("reading the test images")
            names = session.manifest.class_names if session.manifest else ()
            picture = find_picture(session)
            signature = read_signature(session)
            task = session.manifest.task if session.manifest else CLASSIFICATION
            dataset = load_test(
                data, image_size(session), names, limit, channels=picture.shape[-1] or 3
            )
            run, runtime = _scores(session.run, task, signature), session.runtime
        else:
            from edgevit.frontend.record_reference import float_outputs

            say("loading the model")
            source = open_source(model, **opening)
            say(f"reading the {split} images")
            size, names = source.picture_size, source.class_names
            channels = source.preprocess.channels if source.preprocess else 3
            if split == TEST:
                dataset = load_test(data, size, names, limit, channels=channels)
            else:
                dataset = load_validation(
                    data, size, names, limit, source.share_unseen, channels=channels
                )
            run = _scores(partial(float_outputs, source), source.task, source.signature)
            runtime = "keras"
        found = {}
        for name, images in _variants(dataset.images, degradations):
            if degradations:
                say(f"{name}: {len(dataset):,} {split} images")
            found[name] = measure_accuracy(
                run, images, dataset.labels, runtime, dataset.source, progress
            )
    return found


def _scores(
    run: Callable[[np.ndarray], dict[str, np.ndarray]], task: str, signature: Signature
) -> Callable[[np.ndarray], np.ndarray]:
    """The output that tells classes apart alone.

    Raises:
        ConfigError: the model tells none apart.
    """
    output = find_task(task).main_output(signature)
    if output.role not in (Role.LOGITS, Role.PROBABILITIES):
        raise ConfigError(
            f"a model for {task} has no top-1 accuracy: its output {output.name!r} holds "
            f"{output.role}. Give --task classification if it tells classes apart."
        )

    def scores(images: np.ndarray) -> np.ndarray:
        found = run(images)
        return found[output.name] if output.name in found else next(iter(found.values()))

    return scores


def _variants(
    images: np.ndarray, degradations: Sequence[Degradation]
) -> Iterator[tuple[str, np.ndarray]]:
    yield AS_IS, images
    for way in degradations:
        yield way.name, way.apply(images)

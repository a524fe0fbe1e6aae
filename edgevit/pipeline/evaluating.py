"""Accuracy of an exported file or of a float model over a dataset's test images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

from edgevit.core.artifact import MANIFEST_KEY, Manifest
from edgevit.core.results import AccuracyReport
from edgevit.core.tensors import Preprocess
from edgevit.pipeline.sources import Opening, is_exported, load_test, open_source
from edgevit.pipeline.verifying import logits_of
from edgevit.runtimes import open_session
from edgevit.runtimes.session import image_size
from edgevit.verify.compare import measure_accuracy

Status = Callable[[str], None]
Progress = Callable[[int, int], None]


def evaluate(
    model: str | Path,
    data: str | Path,
    limit: int | None = None,
    kernels: str | None = None,
    status: Status | None = None,
    progress: Progress | None = None,
    **opening: Unpack[Opening],
) -> AccuracyReport:
    """Top-1 and top-5 over a dataset's test images.

    Args:
        model: an exported file, an architecture's name, or a .keras or .safetensors file.
        data: a dataset; see :func:`edgevit.data.datasets.load_dataset`.
        limit: only so many images, drawn by a fixed seed; None: all.
        kernels: a kernel set, for an exported file.
        status: called with a line about what is being done.
        progress: called with (images done, images in all).
        **opening: for a float model: see :class:`edgevit.pipeline.sources.Opening`.
    """
    say = status or (lambda line: None)
    path = Path(model)
    if is_exported(path):
        with open_session(path, kernels) as session:
            contract = Preprocess(input_size=image_size(session))
            class_names: tuple[str, ...] = ()
            if MANIFEST_KEY in session.metadata:
                document = json.loads(session.metadata[MANIFEST_KEY])
                manifest = Manifest.from_document(document, path.name)
                contract, class_names = manifest.preprocess or contract, manifest.class_names
            say("reading the test images")
            dataset = load_test(data, contract, class_names, limit)
            return measure_accuracy(
                logits_of(session),
                dataset.images,
                dataset.labels,
                session.runtime,
                dataset.source,
                progress,
            )
    from edgevit.export.record_reference import float_logits

    say("loading the model")
    source = open_source(model, **opening)
    say("reading the test images")
    dataset = load_test(data, source.preprocess, source.class_names, limit)
    return measure_accuracy(
        lambda images: float_logits(source, images),
        dataset.images,
        dataset.labels,
        "keras",
        dataset.source,
        progress,
    )

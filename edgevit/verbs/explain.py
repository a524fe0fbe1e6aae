"""Explanations of classes as pictures, from the float model or from an exported file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np

from edgevit.attribution.explanation import AUTO, explain_outputs
from edgevit.attribution.pictures import Explanation, draw_explanation
from edgevit.base.errors import ConfigError
from edgevit.base.packages import PICTURES, require
from edgevit.base.progress import Status, tells_status
from edgevit.core.manifest import CLASSIFICATION
from edgevit.core.signature import OutputSpec, Role, Signature
from edgevit.formats.registry import open_session
from edgevit.formats.session import find_picture, image_size, read_signature
from edgevit.frontend.opening import Opening, is_exported, open_source
from edgevit.tasks import find_task
from edgevit.tasks.task import Task
from edgevit.verification.parity import find_output


@dataclass(frozen=True)
class DrawnExplanation:
    """One picture on disk.

    Attributes:
        image: the picture that was explained.
        path: the drawing.
        runtime: what ran the network.
        explanation: what was drawn.
    """

    image: Path
    path: Path
    runtime: str
    explanation: Explanation


@tells_status
def explain(
    model: str | Path,
    images: list[Path],
    out: str | Path = "explanations",
    method: str = AUTO,
    status: Status | None = None,
    **opening: Unpack[Opening],
) -> list[DrawnExplanation]:
    """Draws where a network looks on pictures.

    Args:
        model: an exported file, which runs in its own runtime, or anything that
            :func:`edgevit.frontend.opening.open_source` takes, which Keras runs.
        images: pictures, of any size.
        out: folder for the drawings; made if missing.
        method: one of :data:`edgevit.attribution.explanation.METHODS`.
        status: called with a line about what is being done.
        **opening: for a float model: see :class:`edgevit.frontend.opening.Opening`.

    Raises:
        ConfigError: a method that needs an output which is not there.
        DataError: a picture cannot be read.
    """
    from edgevit.base.files import check_writable
    from edgevit.data.images import read_image

    say = status or (lambda line: None)
    path, folder = Path(model), Path(out)
    require("Drawing an explanation", PICTURES)
    check_writable(folder)
    if is_exported(path):
        with open_session(path) as session:
            size, channels = image_size(session), find_picture(session).shape[-1] or 3
            task = find_task(session.manifest.task if session.manifest else CLASSIFICATION)
            output = _find_scores(task, read_signature(session))
            names = session.manifest.class_names if session.manifest else ()
            pixels = np.stack([read_image(image, size, channels) for image in images])
            say(f"running {path.name} with {session.runtime}")

            def run(batch: np.ndarray) -> dict[str, np.ndarray]:
                found = session.run(batch)
                return {**found, output.name: find_output(found, output.name, path)}

            found = explain_outputs(run, pixels, output, names, method)
            runtime, title = session.runtime, path.stem
    else:
        from edgevit.frontend.record_reference import float_outputs

        say("loading the model")
        opening.setdefault("outputs", None)
        if opening["outputs"] is None:
            opening["outputs"] = ("all",)
        source = open_source(model, **opening)
        size = source.picture_size
        pixels = np.stack([read_image(image, size, source.channels) for image in images])
        output = _find_scores(find_task(source.task), source.signature)
        say("running the float model")
        found = explain_outputs(
            partial(float_outputs, source), pixels, output, source.class_names, method
        )
        runtime, title = "keras", source.name
    drawn = []
    for image, explanations in zip(images, found, strict=True):
        for explanation in explanations:
            place = folder / f"{image.stem}-{title}-{explanation.method}.png"
            draw_explanation(explanation, place, f"{title} ({runtime})")
            drawn.append(DrawnExplanation(image, place, runtime, explanation))
    return drawn


def _find_scores(task: Task, signature: Signature) -> OutputSpec:
    """The output whose class is explained.

    Raises:
        ConfigError: the model tells no classes of a picture apart.
    """
    output = task.main_output(signature)
    if output.role not in (Role.LOGITS, Role.PROBABILITIES) or len(output.shape) != 2:
        raise ConfigError(
            f"an explanation shows why a class was chosen, and a model for {task.name} chooses "
            "none. 'edgevit predict' shows what it returns."
        )
    return output

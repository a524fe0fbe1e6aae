"""Where a network looks, asked of the float model or of an exported file in its runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from edgevit.attribution.explanation import explain_outputs
from edgevit.attribution.pictures import Explanation, draw_explanation
from edgevit.base.progress import Status
from edgevit.formats.registry import open_session
from edgevit.formats.session import image_size
from edgevit.frontend.opening import Opening, is_exported, open_source
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


def explain(
    model: str | Path,
    images: list[Path],
    out: str | Path = "explanations",
    method: str = "auto",
    status: Status | None = None,
    **opening: Unpack[Opening],
) -> list[DrawnExplanation]:
    """Draws where a network looks on pictures.

    Args:
        model: an exported file, which runs in its own runtime, or anything that
            :func:`edgevit.frontend.opening.open_source` takes, which Keras runs.
        images: pictures, of any size.
        out: folder for the drawings; made if missing.
        method: "auto", "attention", "gates", "modulator" or "occlusion".
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
    check_writable(folder)
    if is_exported(path):
        with open_session(path) as session:
            size = image_size(session)
            names = session.manifest.class_names if session.manifest else ()
            pixels = np.stack([read_image(image, size) for image in images])
            say(f"running {path.name} with {session.runtime}")

            def run(batch: np.ndarray) -> dict[str, np.ndarray]:
                found = session.run(batch)
                return {**found, "logits": find_output(found, "logits", session)}

            found = explain_outputs(run, pixels, names, method)
            runtime, title = session.runtime, path.stem
    else:
        from edgevit.frontend.record_reference import float_outputs

        say("loading the model")
        opening.setdefault("outputs", None)
        if opening["outputs"] is None:
            opening["outputs"] = ("all",)
        source = open_source(model, **opening)
        pixels = np.stack([read_image(image, source.preprocess.input_size) for image in images])
        say("running the float model")
        given = tuple(source.network.output)
        found = explain_outputs(
            lambda batch: float_outputs(source, batch, given), pixels, source.class_names, method
        )
        runtime, title = "keras", source.name
    drawn = []
    for image, explanations in zip(images, found, strict=True):
        for explanation in explanations:
            place = folder / f"{image.stem}-{title}-{explanation.method}.png"
            draw_explanation(explanation, place, f"{title} ({runtime})")
            drawn.append(DrawnExplanation(image, place, runtime, explanation))
    return drawn

"""Where the network looks while it learns, as the Keras tutorials show it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from edgevit.attribution.explanation import explain_outputs
from edgevit.attribution.pictures import draw_explanation
from edgevit.core.signature import OutputSpec, Role
from edgevit.models.build import Plan, build_plan, choose_outputs

LOGITS = OutputSpec("logits", (None, None), "float32", Role.LOGITS)  # of our own architectures


class EpochPictures:
    """Draws explanations of a few images every so many epochs; called by the training loop.

    Args:
        images: uint8 N H W 3, raw.
        class_names: of the logits.
        folder: for ``epoch-NNN/image-N-METHOD.png``.
        every: epochs from one set of pictures to the next.
    """

    def __init__(self, images: np.ndarray, class_names: tuple[str, ...], folder: Path, every: int):
        self.images = images
        self.class_names = class_names
        self.folder = folder
        self.every = every
        self._viewer: keras.Model | None = None

    def __call__(self, epoch: int, plan: Plan, weights: list[np.ndarray]) -> None:
        """Draws, if it is this epoch's turn.

        Args:
            epoch: epochs done.
            plan: of the network in training.
            weights: in ``get_weights`` order.
        """
        if epoch % self.every:
            return
        if self._viewer is None:
            outputs = choose_outputs(plan.spec, ("all",))
            self._viewer = build_plan(replace(plan, outputs=outputs), preprocess=True)
        self._viewer.set_weights(weights)
        explanations = explain_outputs(self._run, self.images, LOGITS, self.class_names)
        for number, found in enumerate(explanations):
            for explanation in found:
                name = f"image-{number}-{explanation.method}.png"
                place = self.folder / f"epoch-{epoch:03d}" / name
                place.parent.mkdir(parents=True, exist_ok=True)
                draw_explanation(explanation, place, f"{plan.spec.title}, epoch {epoch}")

    def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        assert self._viewer is not None
        found = self._viewer(images, training=False)
        return {name: keras.ops.convert_to_numpy(value) for name, value in found.items()}

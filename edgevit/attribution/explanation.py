"""From a network that can be run to explanations: by its own maps, or by occlusion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgevit.attribution.maps import EXPLAINERS
from edgevit.attribution.occlusion import occlude
from edgevit.attribution.pictures import Explanation
from edgevit.base.errors import ConfigError
from edgevit.core.signature import OutputSpec
from edgevit.tasks.classification import NO_OR_YES, class_shares

AUTO, OCCLUSION = "auto", "occlusion"
METHODS = (AUTO, *EXPLAINERS, OCCLUSION)


def explain_outputs(
    run: Callable[[np.ndarray], dict[str, np.ndarray]],
    images: np.ndarray,
    scores: OutputSpec,
    class_names: tuple[str, ...],
    method: str = AUTO,
) -> list[tuple[Explanation, ...]]:
    """Explains the answers of a network or of an exported file.

    Args:
        run: uint8 B H W C -> float32 B ... by output name.
        images: uint8 N H W C.
        scores: output that tells classes apart.
        class_names: of the scores; where there are none, numbers, or no and yes.
        method: one of METHODS; "auto" is every map that the network gives, and occlusion where it
            gives none.

    Returns:
        For each image one explanation a method.

    Raises:
        ConfigError: an unknown method, or one that needs an output which is not there.
    """
    outputs = run(images)
    given = [name for name in EXPLAINERS if name in outputs]
    if method == AUTO:
        chosen = given or [OCCLUSION]
    elif method in (*given, OCCLUSION):
        chosen = [method]
    else:
        raise ConfigError(
            f"no output {method!r} to explain with; this one offers "
            f"{', '.join([*given, OCCLUSION])}. An export with --outputs logits,{method} has it, "
            "if the architecture has."
        )

    def shares_of(batch: np.ndarray) -> np.ndarray:
        return class_shares(run(batch)[scores.name], scores)

    shares = class_shares(outputs[scores.name], scores)
    if scores.shape[-1] == 1 and len(class_names) != 2:
        class_names = NO_OR_YES

    def explain(number: int, name: str) -> Explanation:
        image, label = images[number], int(np.argmax(shares[number]))
        if name in EXPLAINERS:
            maps = EXPLAINERS[name](outputs[name][number])
        else:
            maps = [occlude(shares_of, image)]
        return Explanation(
            image=image,
            label=class_names[label] if label < len(class_names) else str(label),
            probability=float(shares[number, label]),
            method=name,
            maps=tuple(maps),
        )

    return [tuple(explain(number, name) for name in chosen) for number in range(len(images))]

"""From a network that can be run to explanations: by its own maps, or by occlusion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgevit.attribution.maps import EXPLAINERS
from edgevit.attribution.occlusion import occlude, softmax
from edgevit.attribution.pictures import Explanation
from edgevit.base.errors import ConfigError

OCCLUSION = "occlusion"
METHODS = ("auto", *EXPLAINERS, OCCLUSION)


def explain_outputs(
    run: Callable[[np.ndarray], dict[str, np.ndarray]],
    images: np.ndarray,
    class_names: tuple[str, ...],
    method: str = "auto",
) -> list[tuple[Explanation, ...]]:
    """Explains the answers of a network or of an exported file.

    Args:
        run: uint8 B H W 3 -> float32 B ... by output name, "logits" among them.
        images: uint8 N H W 3.
        class_names: of the logits; where there are none, numbers.
        method: one of METHODS; "auto" is every map that the network gives, and occlusion where it
            gives none.

    Returns:
        For each image one explanation a method.

    Raises:
        ConfigError: an unknown method, or one that needs an output which is not there.
    """
    outputs = run(images)
    given = [name for name in EXPLAINERS if name in outputs]
    if method == "auto":
        chosen = given or [OCCLUSION]
    elif method in (*given, OCCLUSION):
        chosen = [method]
    else:
        raise ConfigError(
            f"no output {method!r} to explain with; this one offers "
            f"{', '.join([*given, OCCLUSION])}. An export with --outputs logits,{method} has it, "
            "if the architecture has."
        )
    shares = softmax(outputs["logits"])
    found = []
    for number, image in enumerate(images):
        label = int(np.argmax(shares[number]))
        found.append(
            tuple(
                Explanation(
                    image=image,
                    label=class_names[label] if label < len(class_names) else str(label),
                    probability=float(shares[number, label]),
                    method=name,
                    maps=tuple(
                        EXPLAINERS[name].read(outputs[name][number])
                        if name in EXPLAINERS
                        else [occlude(lambda covered: run(covered)["logits"], image)]
                    ),
                )
                for name in chosen
            )
        )
    return found

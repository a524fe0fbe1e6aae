"""An explanation states its answer's probability: made of logits, taken as it is else."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.attribution.explanation import explain_outputs
from edgevit.core.signature import Activation, OutputSpec, Role

IMAGES = np.zeros((1, 8, 8, 3), np.uint8)


def explain(role: Role, activation: Activation, values: list[float], names=()):
    spec = OutputSpec("scores", (None, len(values)), "float32", role, activation)

    def run(batch: np.ndarray) -> dict[str, np.ndarray]:
        return {"scores": np.tile(np.float32(values), (len(batch), 1))}

    ((found,),) = explain_outputs(run, IMAGES, spec, names, "occlusion")
    return found.label, found.probability


def test_probabilities_stay_as_they_are():
    found = explain(Role.PROBABILITIES, Activation.SOFTMAX, [0.2, 0.46, 0.34], ("a", "b", "c"))
    assert found == ("b", pytest.approx(0.46))
    assert explain(Role.PROBABILITIES, Activation.SIGMOID, [0.9, 0.8])[1] == pytest.approx(0.9)


def test_logits_become_probabilities():
    assert explain(Role.LOGITS, Activation.LINEAR, [0.0, 0.0])[1] == pytest.approx(0.5)
    assert explain(Role.LOGITS, Activation.LINEAR, [2.0])[1] == pytest.approx(1 / (1 + np.exp(-2)))


@pytest.mark.parametrize(
    ("share", "names", "expected"),
    [(0.9, (), "yes"), (0.1, (), "no"), (0.9, ("cat", "dog"), "dog"), (0.2, ("odd",), "no")],
)
def test_a_single_number_says_yes_or_no(share, names, expected):
    found = explain(Role.PROBABILITIES, Activation.SIGMOID, [share], names)
    assert found == (expected, pytest.approx(max(share, 1 - share)))

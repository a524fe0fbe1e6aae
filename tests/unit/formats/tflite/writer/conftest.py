"""What calibration finds, for tests that quantise a graph of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgevit.quantization.observer import Observer


@pytest.fixture(scope="session")
def measure_ranges() -> Callable[..., dict[str, tuple[float, float]]]:
    """A function (graph, inputs, progress) -> (smallest, largest) of every activation by name.

    Inputs are by name; an array alone is for an input that is called "images".
    """
    from edgevit.formats.tflite.writer.observe import observe_activations

    def measure(graph, inputs, progress=None) -> dict[str, tuple[float, float]]:
        by_name = {"images": inputs} if isinstance(inputs, np.ndarray) else inputs
        found = observe_activations(graph, by_name, Observer(), progress)
        return {name: (value.low, value.high) for name, value in found.items()}

    return measure

"""What calibration finds, for tests that quantise a graph of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgevit.quantization.observer import Observer


@pytest.fixture(scope="session")
def measure_ranges() -> Callable[..., dict[str, tuple[float, float]]]:
    """A function (graph, images, progress) -> (smallest, largest) of every activation by name.

    The images enter the graph's only input.
    """
    from edgevit.formats.tflite.writer.observe import observe_activations

    def measure(graph, images: np.ndarray, progress=None) -> dict[str, tuple[float, float]]:
        found = observe_activations(graph, {"images": images}, Observer(), progress)
        return {name: (value.low, value.high) for name, value in found.items()}

    return measure

"""What the tests of robustness share."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustness.base import find_base
from robustness.server import Server


@pytest.fixture(scope="session")
def server():
    """A process that forks commands of this tree in a moment each."""
    with Server() as found:
        yield found


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A .safetensors file of a tiny network, with ranges beside it."""
    return find_base(tmp_path_factory.mktemp("base"))[2]

"""What the tests of robustness share."""

from __future__ import annotations

import pytest

from robustness.server import Server


@pytest.fixture(scope="session")
def server():
    """A process that forks commands of this tree in a moment each."""
    with Server() as found:
        yield found

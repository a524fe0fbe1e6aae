"""What a user is told when something is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def line_of(error: type[Exception], call: Callable[[], object], start: str = "") -> str:
    """The one line with which a call is refused.

    Args:
        error: that it raises.
        call: without arguments.
        start: how the line begins.
    """
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert message
    assert message.startswith(start)
    assert "\n" not in message
    return message

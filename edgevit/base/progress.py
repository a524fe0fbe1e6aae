"""The callbacks that long work reports to."""

from __future__ import annotations

from collections.abc import Callable

Status = Callable[[str], None]  # a line about what is being done
Progress = Callable[[int, int], None]  # (done, in all)

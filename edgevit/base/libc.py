"""Functions of the C library that Python has no words for."""

from __future__ import annotations

import contextlib
import ctypes


def call_libc(name: str, *arguments: int | bytes) -> int | None:
    """What a function of the C library of this process returns; None where it has no such one.

    Args:
        name: of the function.
        *arguments: whole numbers that fit into a C int, and texts.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        returned: int = getattr(ctypes.CDLL(None), name)(*arguments)
        return returned
    return None

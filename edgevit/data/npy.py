"""The header of a .npy file, read without trusting it."""

from __future__ import annotations

from tokenize import TokenError
from typing import IO

import numpy as np

# What numpy raises on a damaged header, which it parses as Python: nested too deeply, it overflows
# the parser's stack.
HEADER_ERRORS = (SyntaxError, TokenError, RecursionError, MemoryError)
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """What an array claims to be.

    Args:
        stream: at its beginning; afterwards where the values begin.

    Returns:
        (shape, whether it is stored by columns, type).

    Raises:
        ValueError: damaged, or of a version that holds no plain arrays.
    """
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _READERS:
            raise ValueError(f"version {version[0]}.{version[1]} of its format")
        shape, by_columns, dtype = _READERS[version](stream)
    except (KeyError, TypeError, EOFError, *HEADER_ERRORS) as error:
        raise ValueError(str(error)) from None
    return shape, by_columns, dtype

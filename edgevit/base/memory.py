"""Memory that is given back to the system: what the C library keeps of what was freed.

glibc hands large blocks out as mappings of their own, which vanish when they are freed, but raises
the size that counts as large to 32 MiB as soon as one was freed. Blocks of a few MiB, the weights
of a network, then come to lie between small ones that live on, and stay with the process.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

from edgevit.base.libc import call_libc

WORTH = 32 << 20  # bytes of weights from which on this pays
LARGE = 1 << 20  # bytes of a block that is mapped by itself
_GLIBC_MOST = 32 << 20  # where its own threshold ends
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h


@contextlib.contextmanager
def blocks_apart(weights: int) -> Iterator[None]:
    """While the context lasts, a large block goes back to the system when it is freed.

    Not for inference: there activations come and go in such blocks, and each new one costs its
    pages again.

    Args:
        weights: bytes of the network's; nothing happens below WORTH.
    """
    if weights < WORTH:
        yield
        return
    give_back(weights)
    call_libc("mallopt", _MMAP_THRESHOLD, LARGE)
    try:
        yield
    finally:
        call_libc("mallopt", _MMAP_THRESHOLD, _GLIBC_MOST)
        give_back(weights)


def give_back(weights: int) -> None:
    """Frees what only cycles of references hold, and hands what is free back to the system.

    Args:
        weights: bytes of the network's; nothing happens below WORTH.
    """
    if weights >= WORTH:
        gc.collect()
        call_libc("malloc_trim", 0)

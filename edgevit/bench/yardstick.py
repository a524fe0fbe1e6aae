"""A fixed computation that tells how steady the machine is, whatever is being measured."""

from __future__ import annotations

import hashlib
import time

SIZE_BYTES = 16 << 20  # about as long as a worker's turn takes, so that it meets the same troubles

_DATA = bytes(1 << 20)


def read_yardstick() -> int:
    """Nanoseconds to hash 16 MB on one core."""
    started = time.perf_counter_ns()
    digest = hashlib.sha256()
    for _ in range(SIZE_BYTES // len(_DATA)):
        digest.update(_DATA)
    digest.digest()
    return time.perf_counter_ns() - started

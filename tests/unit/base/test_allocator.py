"""Freed memory stays with the process, measured by page faults in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys
from edgevit.base.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "kept" else None
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def faults_of(rounds, size=200 << 20):  # above what glibc comes to keep by itself
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        block = libc.malloc(size)
        ctypes.memset(block, 1, size)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults_of(1)
print(kept, faults_of(4))
"""


def measure(how: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux does")
def test_large_blocks_are_faulted_in_once():
    kept, faults = measure("kept")
    if kept == "False":
        pytest.skip("no glibc")
    _, usual = measure("usual")
    assert faults < usual / 10

"""Measures what the machine could do at best, beside the files that are held against it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import EdgevitError
from edgevit.base.workspace import open_workspace
from edgevit.bench.benchmark import run_benchmark
from edgevit.bench.products import write_product
from edgevit.core.benchmarks import BenchmarkResult
from edgevit.core.measurements import BenchmarkCase
from edgevit.core.roofline import Bandwidth, Cost, Roof, Roofline
from edgevit.core.target import Precision
from edgevit.formats.registry import count_cost, find_runtime

# Rows, depth and width of the product that stands for a runtime's rate: weights of 0.26 MB in int8
# and 1 MB in float32, with enough rows that each is used many times, and short enough (a few ms)
# that many inferences go into a turn.
PRODUCT = (256, 512, 512)
COPIES = 9
SMALLEST_BYTES = 1 << 16
COPY_S = 0.004  # a sample lasts at least so long


def run_with_roofline(cases: Sequence[BenchmarkCase], **settings: Any) -> BenchmarkResult:
    """As :func:`edgevit.bench.benchmark.run_benchmark`, with the machine's limits beside it.

    For every runtime, number of threads and arithmetic that the files use, a file of one large
    matrix product takes part in the same rounds.
    """
    works = tuple(_count(case) for case in cases)
    with open_workspace() as folder:
        roofs = plan_roofs(cases, works, folder)
        bandwidths = tuple(
            measure_bandwidth(threads, size) for threads, size in _sizes(cases, works)
        )
        result = run_benchmark([*cases, *(case for _, case in roofs)], **settings)
    rows, products = result.rows[: len(cases)], result.rows[len(cases) :]
    macs = int(np.prod(PRODUCT))
    found = [
        Roof(str(precision), macs, replace(row, case=replace(case, file=Path(case.file).name)))
        for (precision, case), row in zip(roofs, products, strict=True)
    ]
    return replace(result, rows=rows, roofline=Roofline(tuple(found), bandwidths, works))


def plan_roofs(
    cases: Sequence[BenchmarkCase], works: Sequence[Cost | None], folder: Path
) -> list[tuple[Precision, BenchmarkCase]]:
    """Writes the products that are needed.

    Args:
        cases: what is measured.
        works: of each case.
        folder: where the products are written.

    Returns:
        (arithmetic, case) for each of them.
    """
    wanted = dict.fromkeys(
        (case.runtime, case.threads, Precision(precision))
        for case, work in zip(cases, works, strict=True)
        if work is not None
        for precision in sorted(work.macs)
    )
    found = []
    for runtime, threads, precision in wanted:
        row = find_runtime(runtime)
        path = folder / f"product-{precision}.{row.format}"
        if not path.exists():
            write_product(path, row.format, precision, *PRODUCT)
        found.append((precision, BenchmarkCase(str(path), runtime, threads, None, row.device)))
    return found


def measure_bandwidth(threads: int, working_set_bytes: int) -> Bandwidth:
    """Copies as large as a working set: half of it is read, half written.

    Args:
        threads: that copy at once, each its share.
        working_set_bytes: of all of them.
    """
    share = max(1, working_set_bytes // 2 // threads)
    blocks = [(np.ones(share, np.uint8), np.ones(share, np.uint8)) for _ in range(threads)]

    def copy(pair: tuple[np.ndarray, np.ndarray], repeats: int) -> None:
        for _ in range(repeats):
            np.copyto(pair[0], pair[1])

    samples = []
    with ThreadPoolExecutor(threads) as pool:

        def time_copies(repeats: int) -> int:
            started = time.perf_counter_ns()
            for waiting in [pool.submit(copy, pair, repeats) for pair in blocks]:
                waiting.result()
            return (time.perf_counter_ns() - started) // repeats

        once = min(time_copies(1) for _ in range(3))
        repeats = max(1, round(COPY_S * 1e9 / once))
        samples = [time_copies(repeats) for _ in range(COPIES)]
    return Bandwidth(threads, 2 * share * threads, tuple(samples))


def _count(case: BenchmarkCase) -> Cost | None:
    """The work of a case; a file that cannot be read is the worker's to complain of."""
    try:
        return count_cost(Path(case.file), case.batch or 1)
    except EdgevitError:
        return None


def _sizes(cases: Sequence[BenchmarkCase], works: Sequence[Cost | None]) -> list[tuple[int, int]]:
    """(threads, bytes) of the working sets that are needed, each a power of two."""
    found = {
        (case.threads, 1 << max(0, round(np.log2(max(work.total_bytes, SMALLEST_BYTES)))))
        for case, work in zip(cases, works, strict=True)
        if work is not None
    }
    return sorted(found)

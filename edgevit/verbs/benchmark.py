"""Files measured side by side, with what was asked for beside their times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgevit.base.progress import JupyterBar, shown_in_jupyter
from edgevit.bench.benchmark import ROUNDS, Watch, run_benchmark
from edgevit.bench.cases import plan_cases, plan_reference
from edgevit.bench.process import LIMIT_S
from edgevit.core.benchmarks import BenchmarkResult, Measurement


def _show(bar: JupyterBar, status: str, done: int, total: int, rows: Sequence[Measurement]) -> None:
    bar.status(status)
    bar.advance(done, total)


@shown_in_jupyter(watch=_show)
def benchmark(
    files: str | Path | Sequence[str | Path],
    *,
    runtimes: Sequence[str] = (),
    threads: Sequence[int] = (1,),
    batches: Sequence[int] = (),
    device: str = "cpu",
    against: str | Path | None = None,
    rounds: int = ROUNDS,
    roofline: bool = False,
    instructions: bool = False,
    seed: int = 0,
    limit_s: float = LIMIT_S,
    watch: Watch | None = None,
) -> BenchmarkResult:
    """Measures how fast files are, in interleaved rounds, each file in a process of its own.

    A file that its runtime refuses, or whose process dies or hangs, leaves a row with its failure;
    the others go on.

    Args:
        files: SavedModel, TFLite and ONNX files, in any mix.
        runtimes: names out of RUNTIMES; none: the usual one of each file.
        threads: of the kernels; several are measured each.
        batches: images in an inference; none: the file's own.
        device: "cpu" or "gpu".
        against: the file that ratios refer to, measured along; None: the first row.
        rounds: turns of each row.
        roofline: measure the machine's matrix products and memory too.
        instructions: count instructions by valgrind too; a minute or so for each row.
        seed: of the order within each round.
        limit_s: for one answer of a worker process.
        watch: told (what is done, done, total, rows so far) as the run goes on.

    Returns:
        Raw samples in nanoseconds, with the environment; medians, intervals and ratios are
        properties of it.

    Raises:
        ModelFileError: no such file, or of no known kind.
        UnknownNameError: no such runtime.
        ConfigError: settings that make no sense together.
        MissingToolError: instructions are wanted, and valgrind is not installed.
    """
    named = [files] if isinstance(files, str | Path) else files
    cases = plan_cases(named, runtimes, threads, batches, device)
    reference = 0 if len(cases) > 1 else None
    if against is not None:
        cases, reference = plan_reference(cases, against)
    run: Any = run_benchmark
    if roofline:
        from edgevit.bench.roofline import run_with_roofline as run
    if instructions:
        from edgevit.bench.instructions import add_instructions, find_valgrind

        find_valgrind()
    result = run(cases, rounds=rounds, reference=reference, seed=seed, limit_s=limit_s, watch=watch)
    if not instructions:
        return result

    def count(status: str, done: int, total: int) -> None:
        if watch is not None:
            watch(status, done, total, result.rows)

    return add_instructions(result, watch=count)

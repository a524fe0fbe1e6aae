"""Instructions per inference, by callgrind: a figure without noise, for machines where time has it.

It ignores caches, branches and the width of a vector unit's work, so it stands beside milliseconds
and never for them. Valgrind knows no AVX-512: runtimes run their AVX2 kernels under it.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgevit.base.errors import MissingToolError, RuntimeFailure
from edgevit.base.workspace import open_workspace
from edgevit.bench.process import worker_environment
from edgevit.core.benchmarks import BenchmarkResult
from edgevit.core.format import Format
from edgevit.core.measurements import BenchmarkCase, InstructionCount
from edgevit.formats.registry import find_runtime

INFERENCES = 4
LIMIT_S = 1200.0  # a minute for onnxruntime where nothing else runs
_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)


def find_valgrind() -> str:
    """The program.

    Raises:
        MissingToolError: it is not installed, or this is no x86-64 Linux.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise MissingToolError(
            "--instructions counts by valgrind's callgrind on x86-64 Linux; this is "
            f"{platform.system()} on {platform.machine()}. Leave it out."
        )
    found = shutil.which("valgrind")
    if found is None:
        raise MissingToolError(
            "--instructions needs the program 'valgrind', which is not installed. On Debian and "
            "Ubuntu: apt install valgrind. Or leave it out."
        )
    return found


def add_instructions(
    result: BenchmarkResult,
    limit_s: float = LIMIT_S,
    watch: Callable[[str, int, int], None] | None = None,
) -> BenchmarkResult:
    """The same result with the instructions of each row that was measured.

    Raises:
        MissingToolError: valgrind is not installed.
    """
    find_valgrind()
    rows = []
    for number, row in enumerate(result.rows):
        if watch:
            watch(f"counting instructions of {row.case.file}", number, len(result.rows))
        if row.measured and not row.failure:
            row = replace(row, instructions=count_instructions(row.case, limit_s=limit_s))
        rows.append(row)
    return replace(result, rows=tuple(rows))


def count_instructions(
    case: BenchmarkCase, inferences: int = INFERENCES, limit_s: float = LIMIT_S
) -> InstructionCount:
    """Counts one case, in a process of its own; a failure is noted in the count.

    Args:
        case: file, runtime, threads and batch.
        inferences: N; 3 N are counted.
        limit_s: after so many seconds it is given up.

    Raises:
        MissingToolError: valgrind is not installed.
    """
    valgrind = find_valgrind()
    if find_runtime(case.runtime).format is Format.SAVEDMODEL or case.device != "cpu":
        return InstructionCount(
            inferences, failure="only TFLite and ONNX files on the CPU are counted"
        )
    if case.threads > 1:  # threads that wait for work spin, for as long as it takes
        return InstructionCount(inferences, failure="counted with one thread only")
    with open_workspace() as folder:
        command = (
            *(valgrind, "--tool=callgrind", "--instr-atstart=no", "--quiet"),
            "--separate-threads=yes",  # onnxruntime keeps others, which do as they please
            f"--callgrind-out-file={folder}/count",
            *(sys.executable, "-m", "edgevit.bench.instruction_worker"),
            *(case.file, case.runtime, str(case.threads), str(case.batch or 0), str(inferences)),
        )
        try:
            said = _run(command, case, limit_s)
            totals = [_read_total(Path(folder, f"count.{number}-01"), said) for number in (1, 2)]
        except RuntimeFailure as error:
            return InstructionCount(inferences, failure=str(error))
    return InstructionCount(inferences, totals[0], totals[1])


def _run(command: Sequence[str], case: BenchmarkCase, limit_s: float) -> str:
    """Runs it to its end and returns what it said.

    Raises:
        RuntimeFailure: it took too long, or ended in an error.
    """
    # Hashes and addresses of Python's own objects would differ from run to run.
    environment = {**worker_environment("cpu", case.threads), "PYTHONHASHSEED": "0"}
    environment["OPENBLAS_NUM_THREADS"] = "1"
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeFailure(f"counting instructions took longer than {limit_s:g} s") from None
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        last = (said.splitlines() or ["nothing"])[-1][:200]
        raise RuntimeFailure(f"counting instructions failed (exit {done.returncode}): {last}")
    return said


def _read_total(path: Path, said: str) -> int:
    found = _TOTALS.search(path.read_text() if path.exists() else "")
    if found is None:
        raise RuntimeFailure(f"callgrind left no count ({said[-200:] or 'it said nothing'})")
    return int(found[1])

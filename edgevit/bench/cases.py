"""The cases of a benchmark, decided before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgevit.base.errors import ConfigError
from edgevit.core.measurements import BenchmarkCase
from edgevit.formats.registry import detect_format, find_runtime, runtimes_of


def plan_cases(
    files: Sequence[str | Path],
    runtimes: Sequence[str] = (),
    threads: Sequence[int] = (1,),
    batches: Sequence[int] = (),
    device: str = "cpu",
) -> list[BenchmarkCase]:
    """One case for each file, runtime that reads it, number of threads and batch.

    Args:
        files: exported files, in any mix of formats.
        runtimes: names out of RUNTIMES; none: the usual one of each format on the device.
        threads: numbers of threads.
        batches: images in an inference; none: the file's own.
        device: "cpu" or "gpu".

    Raises:
        ModelFileError: no such file, or of no known kind.
        UnknownNameError: no such runtime.
        ConfigError: no runtime that was asked for reads a file, or a number that makes no sense.
    """
    if not files:
        raise ConfigError("no file to benchmark. Name exported files.")
    for name, values in (("--threads", threads), ("--batch", batches)):
        if any(value < 1 for value in values):
            raise ConfigError(f"{name} takes numbers of at least 1. Received: {list(values)}")
    wanted = {name: find_runtime(name) for name in dict.fromkeys(runtimes)}
    cases = []
    for file in dict.fromkeys(map(str, files)):
        kind = detect_format(Path(file))
        readers = runtimes_of(kind, device)
        if not readers:
            raise ConfigError(
                f"{file}: no runtime here runs {kind} files on a GPU. Leave --device gpu out, or "
                "export ONNX or a SavedModel."
            )
        chosen = [name for name, row in wanted.items() if row.format is kind]
        if wanted and not chosen:
            raise ConfigError(
                f"{file}: {', '.join(wanted)} does not read {kind}. "
                f"What does: {', '.join(runtimes_of(kind, 'cpu') + runtimes_of(kind, 'gpu'))}."
            )
        cases += [
            BenchmarkCase(file, name, count, batch, find_runtime(name).device)
            for name in (chosen or readers[:1])
            for count in dict.fromkeys(threads or (1,))
            for batch in (dict.fromkeys(batches) if batches else (None,))
        ]
    return cases


def plan_reference(
    cases: Sequence[BenchmarkCase], file: str | Path
) -> tuple[list[BenchmarkCase], int]:
    """The cases with a reference among them.

    Args:
        cases: what is measured anyway.
        file: what ratios refer to; measured with the settings of the first case, unless it is
            among them.

    Returns:
        (cases, index of the reference).
    """
    (reference,) = plan_cases([file], threads=[cases[0].threads], device=cases[0].device)
    same = [n for n, case in enumerate(cases) if Path(case.file) == Path(reference.file)]
    if same:
        return list(cases), same[0]
    return [replace(reference, batch=cases[0].batch), *cases], 0

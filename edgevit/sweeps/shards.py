"""Many samples in several processes: cut at fixed places, so the result is the same to the bit.

Every shard begins where a run in one process begins a chunk, and kernels run on as many threads
everywhere, so nothing depends on how many processes there are, or which does what.
"""

from __future__ import annotations

import contextlib
import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.base.errors import ConfigError, RuntimeFailure
from edgevit.base.loading import load_attribute
from edgevit.base.progress import Progress
from edgevit.base.workspace import open_workspace
from edgevit.core.samples import Inputs, count_samples
from edgevit.sweeps.digests import Digests
from edgevit.sweeps.jobs import EXECUTORS, Allowance, Executor, Job, Task, Tell, claim_all

SHARD = 500  # samples; a multiple of the chunks that models are run in
RESULT = "result.pickle"
LIMIT_S = 24 * 3600.0
Outputs = dict[str, np.ndarray]


def whole_name(model: Any) -> str:
    """A model's name; of a file its whole path, since workers may be elsewhere.

    Raises:
        ConfigError: a model in memory, which other processes do not have.
    """
    if not isinstance(model, (str, Path)):
        raise ConfigError("a model in memory is run in one process. Drop jobs, or save it.")
    return str(Path(model).resolve()) if Path(model).exists() else str(model)


@dataclass(frozen=True)
class Part:
    """What a process is told of its shards.

    Attributes:
        function: ``(shared) -> context manager of a function of inputs``, "module:function"; what
            that function returns can be pickled.
        shared: its argument.
        files: of the inputs, by name; the only input of a model may be under "".
    """

    function: str
    shared: Any
    files: dict[str, str]


@dataclass(frozen=True)
class Workers:
    """How many processes share the samples.

    Attributes:
        jobs: processes at once.
        ray: address of a Ray cluster; None: processes of this machine.
    """

    jobs: int
    ray: str | None = None

    def open(self) -> Executor:
        """The executor that runs them."""
        allowance = Allowance(self.jobs, seconds=LIMIT_S)
        build = load_attribute(EXECUTORS["local" if self.ray is None else "ray"])
        executor: Executor = build(allowance, self.ray or "")
        return executor


def run_shards(
    function: str,
    shared: Any,
    inputs: Inputs,
    workers: Workers,
    files: Sequence[Path] = (),
    progress: Progress | None = None,
    shard: int | None = SHARD,
) -> list[Any]:
    """What a function makes of each part of many samples, in their order.

    Args:
        function: see :class:`Part`.
        shared: likewise.
        inputs: N ... by name, or of the only input.
        workers: that share them.
        files: that the function reads.
        progress: called with (samples done, samples in all).
        shard: samples in a part; None: a part for each process.

    Raises:
        RuntimeFailure: a process refused or died.
    """
    total = count_samples(inputs)
    with contextlib.closing(workers.open()) as executor, open_workspace() as folder:
        shard = shard or max(1, math.ceil(total / executor.workers))
        part = Part(function, shared, _write_inputs(inputs, folder))
        read = [*files, *map(Path, part.files.values())]
        digests = Digests(folder / "digests.json")
        sent = tuple((path, digests.of_path(path)) for path in read if path.exists())
        tasks = [_plan_task(start, total, shard, folder) for start in range(0, total, shard)]
        count = min(executor.workers, len(tasks))
        jobs = [
            Job(f"{__name__}:do_shards", part, tuple(tasks[number::count]), Path.cwd(), sent)
            for number in range(count)
        ]
        done = 0
        for event in executor.run(jobs, claim_all):
            if event.kind == "died":
                raise RuntimeFailure(f"{event.task}: their process {event.line}.")
            if event.kind == "done":
                done += int(event.document["samples"])
                if progress:
                    progress(done, total)
        return [pickle.loads((task.folder / RESULT).read_bytes()) for task in tasks]


def _plan_task(start: int, total: int, shard: int, folder: Path) -> Task:
    place = folder / f"from-{start}"
    place.mkdir()
    return Task(f"samples from {start}", (start, min(start + shard, total)), place)


def _write_inputs(inputs: Inputs, folder: Path) -> dict[str, str]:
    named = inputs if isinstance(inputs, Mapping) else {"": inputs}
    files = {}
    for number, (name, values) in enumerate(named.items()):
        files[name] = str(folder / f"input-{number}.npy")
        np.save(files[name], values)
    return files


def join_outputs(parts: Sequence[Outputs]) -> Outputs:
    """float32 N ... by output name, of parts that follow each other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def do_shards(part: Part, tasks: Sequence[tuple[str, Any, str]], tell: Tell) -> None:
    """What a process does; see :data:`edgevit.sweeps.jobs.Job.function`."""
    whole = {name: np.load(file, mmap_mode="r") for name, file in part.files.items()}
    with load_attribute(part.function)(part.shared) as run:
        for name, (start, stop), folder in tasks:
            tell.started(name)
            taken = {key: np.array(values[start:stop]) for key, values in whole.items()}
            result = run(taken[""] if [*taken] == [""] else taken)
            (Path(folder) / RESULT).write_bytes(pickle.dumps(result))
            tell.done(name, {"samples": stop - start})

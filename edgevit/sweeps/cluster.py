"""Jobs on a Ray cluster: Ray places them, and on each machine a process of ours does the work.

A task of Ray's is thin: it starts the same worker as on one machine, watches it in the same way
and hands back each finished task with its files, through Ray's object store. So a cell that
crashes or hangs takes no worker of Ray's along, and what is done before a machine is lost stays
done; the rest is sent again. https://docs.ray.io/en/latest/ray-core/ray-generator.html
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgevit.base import interrupt
from edgevit.base.documents import to_json
from edgevit.base.errors import RuntimeFailure, in_one_line, needed
from edgevit.base.versions import tool_versions
from edgevit.bench.environment import TOOLS
from edgevit.core.cells import State
from edgevit.models.shipped import VARIABLE
from edgevit.sweeps.digests import Digests
from edgevit.sweeps.jobs import Allowance, Claim, Event, Job
from edgevit.sweeps.process import TICK_S, JobProcess

RETRIES = 2  # of a job whose machine or process was lost
WAIT_S = 0.5
AHEAD = 2  # jobs beyond those that run now, so that no core waits for this process
KEPT_S = 7 * 24 * 3600  # unpacked files that no job asked for in this time are deleted


@dataclass(frozen=True)
class Sent:
    """A file or folder that travels with a job.

    Attributes:
        path: where it is on the machine that sent it.
        digest: sha256 of it.
        packed: reference to its bytes, in a list so that Ray fetches them only if asked.
    """

    path: Path
    digest: str
    packed: list[Any]


class RayCluster:
    """Sends jobs to a Ray cluster; see :class:`edgevit.sweeps.jobs.Executor`.

    Args:
        allowance: of processes, time and memory of each.
        address: of the cluster, as ray.init takes it.

    Raises:
        MissingDependencyError: Ray is not installed.
        RuntimeFailure: there is no such cluster.
    """

    def __init__(self, allowance: Allowance, address: str):
        with needed("ray", "ray", "edgevit sweep --ray"):
            import ray
        self._ray, self._allowance = ray, allowance
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = in_one_line(error, 200)
            raise RuntimeFailure(f"--ray {address}: no cluster answers ({reason}).") from None
        cores = int(ray.cluster_resources().get("CPU", 1))
        self.workers = allowance.workers or max(1, cores // allowance.threads)
        # Once: each is another function to Ray, which every worker would have to fetch.
        self._remote = ray.remote(num_returns="streaming", max_retries=0)(run_job)
        self._packed: dict[str, Any] = {}
        self._running: dict[Any, tuple[Job, set[str]]] = {}

    def run(self, jobs: list[Job], claim: Claim) -> Iterator[Event]:
        """See :class:`edgevit.sweeps.jobs.Executor`."""
        waiting, claimed = list(jobs), list[Job]()
        most = self.workers + (0 if self._allowance.workers else AHEAD)
        try:
            while waiting or claimed or self._running:
                interrupt.check()
                while (claimed or waiting) and len(self._running) < most:
                    own = claimed.pop(0) if claimed else claim(waiting.pop(0))
                    if own is not None:
                        self._submit(own)
                yield from self._receive(claimed)
        finally:
            for stream in self._running:
                with contextlib.suppress(Exception):  # it may have ended meanwhile
                    self._ray.cancel(stream, force=True)
            self._running.clear()

    def close(self) -> None:
        """Disconnects from the cluster, which goes on."""
        self._ray.shutdown()

    def _submit(self, job: Job) -> None:
        sent = [Sent(path, digest, [self._put(path, digest)]) for path, digest in job.files]
        memory = {"memory": self._bounded(job.need_bytes)} if job.need_bytes else {}
        remote = self._remote.options(num_cpus=self._allowance.threads, **memory)
        stream = remote.remote(job, self._allowance, sent, describe_tools())
        self._running[stream] = (job, set())

    def _bounded(self, need_bytes: int) -> int:
        """No more than the largest machine has, which would wait for ever."""
        most = max(int(node["Resources"].get("memory", 0)) for node in self._ray.nodes())
        return min(need_bytes, most)

    def _put(self, path: Path, digest: str) -> Any:
        if digest not in self._packed:
            self._packed[digest] = self._ray.put(pack(path))
        return self._packed[digest]

    def _receive(self, claimed: list[Job]) -> Iterator[Event]:
        if not self._running:
            return
        streams = [*self._running]
        self._ray.wait(streams, num_returns=1, timeout=WAIT_S)
        ready, _ = self._ray.wait(streams, num_returns=len(streams), timeout=0)
        for stream in ready:
            job, done = self._running[stream]
            try:
                event, data = self._ray.get(next(stream))
            except StopIteration:
                self._forget(stream)
                yield from self._send_again(job.without(done), "its process was killed", claimed)
            except self._ray.exceptions.RayError as error:
                self._forget(stream)
                cause = getattr(error, "cause", None)
                reason = f"{type(cause or error).__name__}: {in_one_line(cause or error, 200)}"
                yield from self._send_again(job.without(done), reason, claimed)
            else:
                yield _take(event, data, job, done)

    def _forget(self, stream: Any) -> None:
        """A job ended; files that no other job reads now leave Ray's memory."""
        del self._running[stream]
        used = {digest for job, _ in self._running.values() for _, digest in job.files}
        self._packed = {digest: ref for digest, ref in self._packed.items() if digest in used}

    def _send_again(self, rest: Job, reason: str, claimed: list[Job]) -> Iterator[Event]:
        """What a lost machine left undone; after some tries its first task is given up."""
        if not rest.tasks:
            return
        if rest.lost < RETRIES:
            claimed.append(replace(rest, alone=True, lost=rest.lost + 1))
            return
        first = rest.tasks[0].name
        line = f"was lost {rest.lost + 1} times ({reason})"
        yield Event("died", first, line, state=State.CRASHED)
        rest = rest.without({first})
        if rest.tasks:
            claimed.append(replace(rest, lost=0))


def _take(event: Event, data: bytes | None, job: Job, done: set[str]) -> Event:
    if event.kind in ("done", "died"):
        done.add(event.task)
    if data is not None:
        unpack(data, next(task.folder for task in job.tasks if task.name == event.task))
    return event


def run_job(
    job: Job, allowance: Allowance, sent: Sequence[Sent], tools: str
) -> Iterator[tuple[Event, bytes | None]]:
    """On a machine of the cluster: does a job; yields events and the files of finished tasks."""
    where = os.uname().nodename
    if describe_tools() != tools:
        line = f"{where} has other versions of edgevit or its tools than the machine that asks"
        for task in job.tasks:
            yield Event("died", task.name, line, state=State.CRASHED, where=where), None
        return
    with tempfile.TemporaryDirectory(prefix="edgevit-job-") as folder:
        placed = place_files(job, sent, Path(folder))
        folders = {task.name: task.folder for task in placed.tasks}
        process = JobProcess(placed, allowance)
        try:
            while not process.ended:
                for event in _without_old_steps(process.look()):
                    data = pack(folders[event.task]) if event.kind == "done" else None
                    yield replace(event, where=f"{where}, {event.where}"), data
                time.sleep(TICK_S)
            rest = placed.without(process.done)
            if rest.tasks and not process.lost:  # a task died; the others go on here
                again = replace(job, tasks=tuple(t for t in job.tasks if t.name in _names(rest)))
                yield from run_job(again, allowance, sent, tools)
        finally:
            process.end()


def _without_old_steps(events: list[Event]) -> list[Event]:
    """Of several steps at once only the last is news; each would be a message to the driver."""
    before_last = [e for e, after in pairwise(events) if not e.kind == after.kind == "step"]
    return before_last + events[-1:]


def _names(job: Job) -> set[str]:
    return {task.name for task in job.tasks}


def place_files(job: Job, sent: Sequence[Sent], folder: Path) -> Job:
    """A job whose files are found on this machine.

    What is at the same place with the same content, as on a shared disk, is used there; the rest
    is unpacked once for all jobs of this machine, and deleted when none asked for it in a week.

    Args:
        job: of another machine.
        sent: its files.
        folder: for this job alone.
    """
    root, cache = folder / "root", _cache()
    root.mkdir()
    digests = Digests(cache / "digests.json")
    moved: dict[str, str] = {}
    environment = dict(job.environment)
    shared = job.folder.is_dir()
    for file in sent:
        if file.path.exists() and digests.of_path(file.path) == file.digest:
            found = file.path
        else:
            found = _fetch(file, cache)
            shared = False
            if not file.path.is_relative_to(job.folder):
                environment[VARIABLE] = str(found.parent)  # weights that ship: a folder of them
        moved[str(file.path)] = str(found)
        if file.path.is_relative_to(job.folder):
            link = root / file.path.relative_to(job.folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(found)
    digests.keep()
    _clear_old(cache)
    tasks = []
    for number, task in enumerate(job.tasks):
        place = folder / str(number)
        place.mkdir()
        tasks.append(replace(task, folder=place))
    return replace(
        job,
        shared=_rename(job.shared, moved),
        tasks=tuple(tasks),
        folder=job.folder if shared else root,
        environment=environment,
    )


def _cache() -> Path:
    folder = Path(tempfile.gettempdir()) / f"edgevit-files-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _fetch(file: Sent, cache: Path) -> Path:
    """Unpacks a file into the cache, whole, unless it is there."""
    import ray

    place = cache / file.digest
    if not place.exists():
        partial = cache / f".{file.digest}.{uuid.uuid4().hex[:8]}"
        unpack(ray.get(file.packed[0]), partial / file.path.name)
        with contextlib.suppress(OSError):  # another job was quicker
            partial.rename(place)
    os.utime(place)
    return place / file.path.name


def _clear_old(cache: Path) -> None:
    """Deletes what was unpacked for earlier jobs, or left half unpacked by killed ones."""
    oldest = time.time() - KEPT_S
    for place in cache.iterdir():
        with contextlib.suppress(OSError):  # another job was quicker
            if place.is_dir() and place.stat().st_mtime < oldest:
                shutil.rmtree(place)


def _rename(value: Any, moved: Mapping[str, str]) -> Any:
    """A value with the places of files changed."""
    if isinstance(value, str):
        return moved.get(value, value)
    if isinstance(value, dict):
        return {key: _rename(inner, moved) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_rename(inner, moved) for inner in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {part.name: _rename(getattr(value, part.name), moved) for part in fields(value)}
        return replace(value, **parts)
    return value


def pack(path: Path) -> bytes:
    """A file, or what is in a folder, as a tar."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(path.resolve(), arcname=".")
    return stream.getvalue()


def unpack(data: bytes, path: Path) -> None:
    """Puts what :func:`pack` made to a place, as the file or the folder that it was."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        first = archive.getmembers()[0]
        if first.isfile():
            path.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(first)
            assert content is not None
            path.write_bytes(content.read())
        else:
            path.mkdir(parents=True, exist_ok=True)
            for member in archive.getmembers():  # 'filter' came with Python 3.11.4
                _unpack(archive, member, path)


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """A file or folder of an archive; nothing else, and nothing outside of the folder."""
    place = folder / member.name
    if not place.resolve().is_relative_to(folder.resolve()):
        raise RuntimeFailure(f"{member.name}: lies outside of the folder that it was sent for.")
    if member.isdir():
        place.mkdir(parents=True, exist_ok=True)
    elif member.isfile():
        place.parent.mkdir(parents=True, exist_ok=True)
        content = archive.extractfile(member)
        assert content is not None
        place.write_bytes(content.read())


@cache
def describe_tools() -> str:
    """A digest of what must be the same on all machines: this package's code and its tools."""
    versions = to_json(tool_versions(*TOOLS))
    package = Digests(_cache() / "package.json")
    text = f"{package.of_package()} {versions}"
    package.keep()
    return hashlib.sha256(text.encode()).hexdigest()

"""The process that measures one file: ``python -m edgevit.bench.worker``.

It reads one JSON object a line from stdin, ``{"do": NAME, ...}``, and answers each with one line
on what was its stdout; whatever a runtime prints goes to stderr. It ends when stdin ends, so
nothing is left behind when the process that started it is killed.

=======  ======================================  ==================================================
do       arguments                               answer
=======  ======================================  ==================================================
open     file, runtime, threads, batch           batch, import_ns, load_ns, first_ns, idle_bytes
warm     limit_s                                 calls, stable, call_ns
run      count, lead, slowdown                   latency_ns
memory                                           peak_bytes
=======  ======================================  ==================================================

``{"error": text, "exit_code": number}`` answers a request that failed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from edgevit.base.errors import EdgevitError, RuntimeFailure, in_one_line
from edgevit.bench.measure import time_calls, warm_up
from edgevit.core.samples import count_samples
from edgevit.formats.registry import import_runtime, load_session, refuse_damage
from edgevit.formats.session import draw_input


class Bench:
    """One file in one runtime, and the requests that can be made of it."""

    def __init__(self) -> None:
        self._call: Callable[[], object] | None = None

    def open(self, file: str, runtime: str, threads: int, batch: int | None) -> dict[str, Any]:
        """Loads a file and runs it once; the two steps and the import are timed apart."""
        path = Path(file)
        refuse_damage(path)  # reads it whole, so what is timed is a load from memory
        clock = time.perf_counter_ns
        started = clock()
        import_runtime(runtime)
        imported = clock()
        idle = peak_memory()
        ready = clock()
        self._session = load_session(path, runtime, threads)
        loaded = clock()
        images = draw_input(self._session, batch)
        drawn = clock()
        call = self._session.bind(images)
        call()
        first = clock()
        self._call = call
        return {
            "batch": count_samples(images),
            "import_ns": imported - started,
            "load_ns": loaded - ready,
            "first_ns": first - drawn,
            "idle_bytes": idle,
        }

    def warm(self, limit_s: float) -> dict[str, Any]:
        """Runs until the time of an inference stops changing."""
        return asdict(warm_up(self._bound(), limit_s))

    def run(self, count: int, lead: int = 1, slowdown: float = 0.0) -> dict[str, Any]:
        """Times some inferences, after a few that only bring the caches back."""
        call = self._bound()
        for _ in range(lead):
            call()
        return {"latency_ns": time_calls(call, count, slowdown)}

    def memory(self) -> dict[str, Any]:
        """Peak memory so far."""
        return {"peak_bytes": peak_memory()}

    def _bound(self) -> Callable[[], object]:
        if self._call is None:
            raise RuntimeFailure("no file is open in this worker.")
        return self._call


def peak_memory() -> int:
    """Peak resident bytes of this process; 0 where the system does not say.

    Linux keeps it for each address space (VmHWM); getrusage's figure would start from that of the
    process that spawned this one.
    """
    try:
        with open("/proc/self/status") as stream:
            for line in stream:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answers requests until there are no more."""
    bench = Bench()
    handlers: dict[str, Callable[..., dict[str, Any]]]
    handlers = {"open": bench.open, "warm": bench.warm, "run": bench.run, "memory": bench.memory}
    for line in requests:
        request = json.loads(line)
        try:
            answer = handlers[request.pop("do")](**request)
        except EdgevitError as error:
            answer = {"error": str(error), "exit_code": error.exit_code}
        except MemoryError:
            answer = {"error": "not enough memory for this batch", "exit_code": 1}
        except Exception as error:  # a runtime's own: the line must name it
            text = in_one_line(error, 200)
            answer = {"error": f"{type(error).__name__}: {text}", "exit_code": 1}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Keeps stdout for the answers and serves."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        serve(sys.stdin, answers)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(1)


if __name__ == "__main__":
    main()

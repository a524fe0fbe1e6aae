"""A worker process from the outside: it can die, hang or refuse, and each becomes one line."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from edgevit.base.children import child_environment, name_signal
from edgevit.base.errors import RuntimeFailure

COMMAND = (sys.executable, "-m", "edgevit.bench.worker")
LIMIT_S = 300.0  # for one answer


class WorkerProcess:
    """A context manager around one worker.

    Args:
        device: "cpu" hides every GPU from it.
        threads: for libraries that read it from the environment.
        limit_s: seconds that it may take for one answer; then it is killed.
        command: what is started; another one in tests, or under valgrind.
    """

    def __init__(
        self,
        device: str = "cpu",
        threads: int = 1,
        limit_s: float = LIMIT_S,
        command: Sequence[str] = COMMAND,
    ):
        self._limit_s = limit_s
        self._pending = b""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the worker)
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=worker_environment(device, threads),
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def ask(self, do: str, **arguments: Any) -> Mapping[str, Any]:
        """Sends a request and waits for its answer.

        Raises:
            RuntimeFailure: it refused, died, or took too long; after the last two it is gone.
        """
        self.send(do, **arguments)
        return self.receive()

    def send(self, do: str, **arguments: Any) -> None:
        """Sends a request; :meth:`receive` gets the answer, or learns that it died."""
        assert self._process.stdin
        with contextlib.suppress(OSError, ValueError):  # it is gone, or closed
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> Mapping[str, Any]:
        """The answer to what was sent.

        Raises:
            RuntimeFailure: as :meth:`ask`.
        """
        line = self._read_line()
        try:
            answer = json.loads(line)
        except ValueError:
            self.close()
            raise RuntimeFailure(f"its worker answered nonsense ({line[:60]!r}).") from None
        if "error" in answer:
            raise RuntimeFailure(answer["error"])
        return answer

    def close(self) -> None:
        """Ends the process; asks first, then kills."""
        process = self._process
        for stream in (process.stdin, process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        if process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)
        if process.poll() is None:
            process.kill()
            process.wait()
        self._log.close()

    def _read_line(self) -> bytes:
        assert self._process.stdout
        if self._process.stdout.closed:
            raise RuntimeFailure("its worker is gone.")
        descriptor = self._process.stdout.fileno()
        ends = time.monotonic() + self._limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, ends - time.monotonic())):
                    self._process.kill()
                    self.close()
                    raise RuntimeFailure(
                        f"its worker did not answer within {self._limit_s:g} s and was stopped. "
                        "--time-limit allows more."
                    )
                part = os.read(descriptor, 1 << 16)
                if not part:
                    raise RuntimeFailure(self._describe_death())
                self._pending += part
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _describe_death(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        code = self._process.poll()
        self._log.seek(0)
        said = self._log.read()[-2000:].decode(errors="replace").strip().splitlines()
        last = f" It said: {said[-1][:200]}" if said else ""
        self.close()
        name = name_signal(code)
        if name is not None:
            hint = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
            return f"its worker was killed by {name}{hint}.{last}"
        return f"its worker died (exit code {code}).{last}"


def worker_environment(device: str, threads: int) -> dict[str, str]:
    """Variables of a worker: this package is found, and a GPU is seen only where it is wanted."""
    found = child_environment(TF_CPP_MIN_LOG_LEVEL="3", OMP_NUM_THREADS=str(threads))
    if device == "cpu":
        found["CUDA_VISIBLE_DEVICES"] = "-1"
    elif found.get("CUDA_VISIBLE_DEVICES") == "-1":  # edgevit's own default on the CPU
        del found["CUDA_VISIBLE_DEVICES"]
    return found

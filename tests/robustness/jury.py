"""Runs the command line in forked processes, and says what became of each.

Imports are paid once, so that thousands of commands take minutes. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TIME_S = 120.0  # for one command
MEMORY = 2 << 30  # bytes that one command may have resident
CEILING = 6 << 30  # bytes that it can allocate at all, so that a failure does not end the machine

# Events that change a folder: the places of a name, and of the folder that it is relative to.
CHANGES = {
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)),
}


@dataclass(frozen=True)
class Ruling:
    """What became of one command.

    Attributes:
        code: its exit code; negative: the signal that ended it.
        out: standard output.
        err: standard error.
        seconds: wall time.
        peak: resident bytes at most, of it and of its own processes.
        touched: files that it opened, moved or deleted, or programs that it started, which it must
            not.
        litter: half-made and temporary entries that it left.
    """

    code: int
    out: str
    err: str
    seconds: float
    peak: int
    touched: tuple[str, ...] = ()
    litter: tuple[str, ...] = ()

    @property
    def faults(self) -> tuple[str, ...]:
        """What must not happen, whatever the input."""
        said = self.out + self.err
        lines = [line for line in self.err.splitlines() if line.startswith("edgevit: error:")]
        found = {
            "traceback": "Traceback (most recent call last)" in said,
            "internal error": "internal error" in said,
            "signal": self.code < 0,
            "hang": self.seconds > TIME_S,
            "memory": self.peak > MEMORY,
            "touched": bool(self.touched),
            "litter": bool(self.litter),
            "usage": "No such option" in said or "No such command" in said,
            "no line": self.code not in (0, 1) and len(lines) != 1,
            "controls": re.search("[\x00-\x08\x0b-\x1f\x7f\x9b]", said) is not None,
        }
        return tuple(name for name, true in found.items() if true)


def run_forked(
    arguments: Sequence[object],
    folder: Path,
    allowed: Sequence[Path] = (),
    before: Callable[[], None] = lambda: None,
    limit_s: float = TIME_S,
    strike: tuple[float, int] | None = None,
) -> Ruling:
    """Runs ``edgevit ARGUMENTS`` in a child of this process.

    Args:
        arguments: of the command line.
        folder: that it runs in, where its temporary files go too.
        allowed: further folders that it may write to.
        before: called in the child first.
        limit_s: after which it is killed.
        strike: seconds after which it gets a signal, and its number; None: it gets none.
    """
    scratch = folder / ".scratch"
    (scratch / "tmp").mkdir(parents=True, exist_ok=True)
    out, err, log = scratch / "out", scratch / "err", scratch / "touched"
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            _become(arguments, folder, (folder, *allowed), (out, err, log), before)
        finally:
            os._exit(99)
    code, peak = _wait(child, started + limit_s, strike)
    seconds = time.monotonic() - started
    touched = tuple(dict.fromkeys(log.read_text(errors="replace").splitlines()))
    texts = (file.read_bytes().decode(errors="replace") for file in (out, err))
    return Ruling(code, *texts, seconds, peak, touched, find_litter(folder))


def find_litter(folder: Path) -> tuple[str, ...]:
    """Half-made entries below a folder, and whatever lies in its place for temporary ones."""
    made = (
        entry for entry in folder.rglob("*") if entry.name.endswith((".partial", ".new", ".old"))
    )
    return tuple(sorted(entry.name for entry in (*made, *(folder / ".scratch/tmp").iterdir())))


def _wait(child: int, ends: float, strike: tuple[float, int] | None) -> tuple[int, int]:
    """(exit code, peak of resident bytes); kills what takes too long."""
    begun = time.monotonic()
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
        if strike is not None and time.monotonic() > begun + strike[0]:
            os.kill(child, strike[1])
            strike = None
        if time.monotonic() > ends:
            os.killpg(child, signal.SIGKILL)
            ends = float("inf")
        time.sleep(0.002)


def _become(
    arguments: Sequence[object],
    folder: Path,
    allowed: Sequence[Path],
    files: tuple[Path, Path, Path],
    before: Callable[[], None],
) -> None:
    """Turns the child into the command."""
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]  # the parent's own folders
    os.setsid()
    os.chdir(folder)
    out, err, log = (os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) for file in files)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.environ["TMPDIR"] = str(files[0].parent / "tmp")
    os.environ["EDGEVIT_CACHE"] = str(files[0].parent / "cache")
    tempfile.tempdir = None  # this process knew another
    resource.setrlimit(resource.RLIMIT_DATA, (CEILING, CEILING))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    _obey_permissions()
    _watch(log, allowed)
    before()
    from edgevit.cli.main import main

    sys.argv = ["edgevit", *map(str, arguments)]
    try:
        main()
    except SystemExit as ending:
        code = ending.code
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode(errors="replace"))
        os._exit(1)


def _obey_permissions() -> None:
    """Gives up what lets root write where permissions do not: CAP_DAC_OVERRIDE, _READ_SEARCH."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, twice
    libc = ctypes.CDLL(None)
    if libc.capget(header, held) == 0:
        for place in range(3):
            held[place] &= ~0b110
        libc.capset(header, held)


def _find_entry(name: str | bytes, descriptor: int) -> str:
    """The whole path of an entry of a folder, which may be a link."""
    path = os.fsdecode(name)
    if descriptor >= 0:
        path = os.path.join(os.readlink(f"/proc/self/fd/{descriptor}"), path)
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _is_cached(path: str) -> bool:
    """Whether Python or matplotlib keeps something there for its next run."""
    return "__pycache__" in path or "/matplotlib" in path


def _watch(log: int, allowed: Sequence[Path]) -> None:
    """Notes what is written or moved elsewhere, canaries that are read, and programs that run."""
    places = tuple(os.path.realpath(place) for place in allowed)
    harmless = ("/dev/", "/proc/self/", "/sys/")

    def notice(event: str, values: tuple) -> None:
        if event == "open":
            name, mode, flags = values
            if not isinstance(name, (str, bytes)):
                return
            path = os.path.realpath(os.fsdecode(name))
            writing = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if flags else False
            writing = writing or bool(mode and set(str(mode)) & set("wax+"))
            outside = not path.startswith((*places, *harmless))
            if (writing and outside and not _is_cached(path)) or path.endswith(
                ("secret.bin", "/etc/passwd")
            ):
                os.write(log, f"open {path}\n".encode(errors="replace"))
        elif event in CHANGES:
            for name, descriptor in CHANGES[event]:
                path = _find_entry(values[name], values[descriptor])
                if not path.startswith((*places, *harmless)) and not _is_cached(path):
                    os.write(log, f"{event} {path}\n".encode(errors="replace"))
        elif event in ("os.system", "os.exec", "os.posix_spawn") or (
            event == "subprocess.Popen"
            and values[0] != "uname"  # platform.processor()
            and not any(own in str(values[1]) for own in ("edgevit.", "ethosu.vela"))
        ):
            os.write(log, f"{event} {str(values)[:120]}\n".encode(errors="replace"))

    sys.addaudithook(notice)

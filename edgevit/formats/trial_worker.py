"""The process in which a file of another tool is tried: ``python -m edgevit.formats.trial_worker``.

It takes FILE RUNTIME BYTES SECONDS and writes one line of JSON to what was its stdout: ``{"fine":
true}``, ``{"memory": true}`` or ``{"error": text, "kind": name}``. No line: it died.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from edgevit.base.errors import ConfigError, EdgevitError, MissingDependencyError, in_one_line
from edgevit.base.loading import load_attribute
from edgevit.formats.registry import FORMATS, detect_format, load_session
from edgevit.formats.session import draw_input

# How runtimes say that memory ran out, which they raise as any other error.
MEMORY = re.compile(
    r"bad_alloc|alloc\w* memory|out of memory|OOM|failed to allocate", re.IGNORECASE
)


def limit_resources(memory: int, seconds: int) -> None:
    """Bounds memory and time of this process; it can write no file either."""
    try:
        import resource
    except ImportError:  # Windows
        return
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for kind, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        with contextlib.suppress(OSError, ValueError):  # a lower limit holds already
            resource.setrlimit(kind, (most, most))


def try_file(path: Path, runtime: str) -> None:
    """Does what any verb does with a file: reads it, loads it, runs it.

    Raises:
        EdgevitError: it cannot be read or loaded. That it does not run on noise says nothing.
    """
    with contextlib.suppress(MissingDependencyError):
        load_attribute(FORMATS[detect_format(path)].inspect)(path)
    with load_session(path, runtime) as session:
        try:
            session.run(draw_input(session, None))
        except EdgevitError as error:
            if MEMORY.search(str(error)):
                raise


def tell(path: Path, runtime: str) -> dict[str, Any]:
    """Tries a file and says how that went."""
    try:
        try_file(path, runtime)
    except MemoryError:
        return {"memory": True}
    except EdgevitError as error:
        if MEMORY.search(str(error)):
            return {"memory": True}
        return {"error": str(error), "kind": type(error).__name__}
    except Exception as error:  # whatever a reader meets in a file that nobody vouches for
        text = f"{path}: cannot be read ({type(error).__name__}: {in_one_line(error, 160)})."
        return {"error": text, "kind": "ModelFileError"}
    return {"fine": True}


def main() -> None:
    """Keeps stdout for the answer; whatever a runtime prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        path, runtime, memory, seconds = sys.argv[1:]
    except ValueError:
        raise SystemExit(ConfigError("FILE RUNTIME BYTES SECONDS are needed.")) from None
    limit_resources(int(memory), int(seconds))
    answers.write(json.dumps(tell(Path(path), runtime)) + "\n")
    answers.close()
    os._exit(0)  # what a damaged file left of a runtime may crash while it is taken apart


if __name__ == "__main__":
    main()

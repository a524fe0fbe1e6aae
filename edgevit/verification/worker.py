"""The process of :mod:`edgevit.verification.beside`: one request on stdin, one answer on stdout."""

from __future__ import annotations

import time

from edgevit.base.children import serve
from edgevit.base.errors import EdgevitError
from edgevit.formats.registry import find_runtime
from edgevit.verification.beside import Answer, Request
from edgevit.verification.parity import check_file


def answer(request: Request) -> Answer:
    """Checks a file."""
    started = time.perf_counter()
    try:
        rows = [find_runtime(name) for name in request.runtimes]
        found = check_file(
            request.path, rows, request.reference, lambda line: None, telling=request.telling
        )
    except EdgevitError as error:
        return Answer(None, time.perf_counter() - started, (type(error).__name__, str(error)))
    return Answer(found, time.perf_counter() - started)


if __name__ == "__main__":
    serve(answer)

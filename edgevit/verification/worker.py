"""The process of :mod:`edgevit.verification.beside`: one request on stdin, one answer on stdout."""

from __future__ import annotations

import os
import pickle
import sys
import time

from edgevit.base.children import end_with_parent
from edgevit.base.errors import EdgevitError
from edgevit.formats.registry import find_runtime
from edgevit.verification.beside import Answer, Request
from edgevit.verification.parity import check_file


def main() -> None:
    """Answers, and ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a runtime prints
    request = pickle.load(sys.stdin.buffer)  # of the process that started this one
    end_with_parent(sys.stdin.buffer)
    pickle.dump(answer(request), answers)
    answers.close()


def answer(request: Request) -> Answer:
    """Checks a file."""
    started = time.perf_counter()
    try:
        rows = [find_runtime(name) for name in request.runtimes]
        found = check_file(
            request.path, rows, request.reference, lambda line: None, thorough=request.thorough
        )
    except EdgevitError as error:
        return Answer((), time.perf_counter() - started, (type(error).__name__, str(error)))
    return Answer(tuple(found), time.perf_counter() - started)


if __name__ == "__main__":
    main()

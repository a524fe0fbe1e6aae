"""The process of :mod:`edgevit.formats.apart`: one run of a file."""

from __future__ import annotations

from pathlib import Path

from edgevit.base.children import serve
from edgevit.base.errors import EdgevitError
from edgevit.core.samples import Inputs
from edgevit.formats.apart import Answer
from edgevit.formats.registry import find_runtime, open_here


def answer(request: tuple[Path, str, Inputs]) -> Answer:
    """Runs a file in a runtime: its outputs, or class and text of an error."""
    path, runtime, inputs = request
    try:
        with open_here(path, find_runtime(runtime)) as session:
            return session.run(inputs)
    except EdgevitError as error:
        return type(error).__name__, str(error)


if __name__ == "__main__":
    serve(answer)

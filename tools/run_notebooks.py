"""Runs the notebooks of docs/notebooks, and writes what they show into them.

    python tools/run_notebooks.py [--write]

Needs nbclient and ipykernel (edgevit[notebooks]). Outputs are kept as they are shown, less what was
printed to stderr, bars, times and the names of folders of this machine.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from document_blocks import NOTEBOOKS

PLACES = re.compile(r"(/[\w.-]+)+/(?=[\w.-]+)")  # folders in front of a name


def run(path: Path) -> Any:
    """A notebook as it is after every cell ran.

    Raises:
        CellExecutionError: of nbclient: a cell raised.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    here = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=600, record_timing=False, resources=here).execute()
    return notebook


def clean(notebook: Any) -> Any:
    """Takes out of a notebook's outputs what another machine would not show."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [_clean_output(o) for o in cell.outputs if not _is_passing(o)]
            cell.metadata = {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def _is_passing(output: Any) -> bool:
    """Whether an output is what libraries print or a bar that is gone, and no result."""
    log = output.get("name") == "stderr" or "INFO:tensorflow" in output.get("text", "")
    return log or output.get("data", {}).get("text/html") == ""


def _clean_output(output: Any) -> Any:
    data = output.get("data", {})
    data.pop("image/jpeg", None)  # beside the same picture as PNG
    if "text/html" in data:
        data["text/html"] = PLACES.sub("", data["text/html"])
        data["text/plain"] = ""  # the repr, with every raw figure
    return output


def main() -> None:
    import nbformat

    for path in NOTEBOOKS:
        notebook = run(path)
        print(f"{path.name}: {sum(c.cell_type == 'code' for c in notebook.cells)} cells ran")
        if "--write" in sys.argv:
            nbformat.write(clean(notebook), path)


if __name__ == "__main__":
    main()

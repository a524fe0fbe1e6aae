"""The notebooks as pages of the site: text, code, and what each cell showed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from document_blocks import NOTEBOOKS


def render(path: Path) -> str:
    """A notebook as Markdown."""
    cells = json.loads(path.read_text())["cells"]
    title, *rest = [block for cell in cells for block in _render_cell(cell)]
    link = f"[Download this notebook]({path.name}) to run it yourself."
    return "\n\n".join([title.replace("\n\n", f"\n\n{link} ", 1), *rest]) + "\n"


def _render_cell(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source.replace(".ipynb)", ".md)")
        return
    yield f"```python\n{source}\n```"
    yield from (_render_output(output) for output in cell["outputs"])


def _render_output(output: dict[str, Any]) -> str:
    data = output.get("data", {"text/plain": output.get("text", [])})
    if "text/html" in data:
        return "".join(data["text/html"])
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        return f'<img alt="What the cell draws" src="data:image/png;base64,{picture}">'
    return "```text\n" + "".join(data["text/plain"]).rstrip() + "\n```"


PAGES = {f"{path.stem}.md": path for path in NOTEBOOKS}

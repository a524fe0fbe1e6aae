"""Rows of cells as HTML: what Jupyter shows of a result."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Row = dict[str, str]


def show_table(title: str, rows: Sequence[Row]) -> str:
    """Rows as a table of HTML under a title, in the colours of whatever page it is put into."""
    above = f"<p><b>{escape(title)}</b></p>"
    if not rows:
        return above
    headings = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["".join(f"<th>{escape(name)}</th>" for name in headings)]
    lines += ["".join(f"<td>{escape(row.get(name, ''))}</td>" for name in headings) for row in rows]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f"{above}\n<table>\n{body}\n</table>"

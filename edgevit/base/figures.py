"""Figures of matplotlib as files that appear whole. Whoever draws them imports it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from edgevit.base.errors import ConfigError
from edgevit.base.files import write_whole

SUFFIXES = (".png", ".svg", ".pdf")


def check_figure_path(path: Path) -> None:
    """Refuses a figure of an unknown kind before anything is measured.

    Raises:
        ConfigError: a suffix that is not among SUFFIXES.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path}: a picture is one of {', '.join(SUFFIXES)}.")


def write_figure(figure: Any, path: Path, dpi: int) -> None:
    """Writes a ``matplotlib.figure.Figure``, whole.

    Args:
        figure: what was drawn.
        path: .png, .svg or .pdf.
        dpi: pixels an inch.

    Raises:
        ConfigError: another kind of file.
        OutputError: it cannot be written.
    """
    check_figure_path(path)
    kind = path.suffix[1:].lower()
    stream = io.BytesIO()
    # The version of matplotlib in a PNG would make equal pictures unequal files.
    figure.savefig(
        stream, format=kind, dpi=dpi, metadata={"Software": None} if kind == "png" else None
    )
    write_whole(path, stream.getvalue())

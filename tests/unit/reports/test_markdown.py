"""The same report as Markdown."""

from __future__ import annotations

import re

import pytest

from edgevit.reports.markdown import render_markdown


def count_cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line)) - 1


def test_every_row_of_a_table_has_as_many_cells_as_its_heading(full_report, bare_report, hostile):
    for report in (full_report, bare_report, hostile("a | b `c` *d*")):
        width = None
        for line in render_markdown(report).splitlines():
            if not line.startswith("|"):
                width = None
                continue
            width = width or count_cells(line)
            assert count_cells(line) == width, line


@pytest.mark.parametrize(
    "text",
    [
        "84.25 %",
        "83.5 to 85.0",
        "0.84 ms",
        "1. trace",
        "net/last",
        "A CPU",
        "too noisy",
        "# shiftvit",
    ],
)
def test_what_is_known_is_in_the_text(full_report, text):
    assert text in render_markdown(full_report)


def test_no_text_becomes_markup(hostile):
    text = re.sub("`.*?`", "", render_markdown(hostile("<b>*x*</b> [y](z)")))
    assert "<b>" not in text.replace("\\<b>", "")
    assert "[y](z)" not in text

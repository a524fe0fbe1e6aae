"""A report as Markdown, for a model card."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgevit.base.versions import installed_version
from edgevit.core.report import Report
from edgevit.reports import view


def render_markdown(report: Report) -> str:
    """The summary, the files and the machine; no pictures."""
    columns = view.shown_columns(report)
    head = ["File", "Verdict", *(column.title for column in columns)]
    rows = [
        [
            file.name,
            view.verdict_text(file),
            *(_cell(column.text(file), column.note(file)) for column in columns),
        ]
        for file in report.files
    ]
    if report.float_accuracy:
        found = report.float_accuracy
        texts = {"Top-1": _cell(view.accuracy_text(found), view.accuracy_note(found))}
        rows.append(["float Keras", "", *(texts.get(column.title, "") for column in columns)])
    advice = view.recommend(report)
    lines = [f"# {_escape(report.title)}", "", *([_escape(advice), ""] if advice else [])]
    lines += [*_table(head, rows, len(head) - 2), ""]
    lines += [f"{_escape(line)}.\n" for line in report.warnings]
    for file in report.files:
        lines += [f"## {_escape(report.labels[file.name])}", ""]
        if file.damage:
            lines += [f"**Damaged:** {_escape(file.damage)}.", ""]
        lines += [f"{_escape(note)}\n" for note in file.notes]
        lines += _table(["", ""], view.facts(file), 0)
        if file.manifest:
            lines += [
                "",
                *(f"{n}. {_escape(step)}" for n, step in enumerate(file.manifest.steps, 1)),
            ]
        for title, bars in (
            ("Time", view.time_bars(file)),
            ("Error by layer", view.error_bars(file)),
            ("Operators", view.op_bars(file)),
        ):
            if bars:
                listed = ", ".join(f"{bar.name} {bar.text}".strip() for bar in bars)
                lines += ["", f"{title}: {_escape(listed)}"]
        lines.append("")
    lines += ["## Machine and versions", ""]
    lines += _table(["", ""], view.machine_text(report), 0)
    if report.gaps:
        lines += ["", "## Not measured yet", ""]
        lines += [f"- {_escape(gap.what)}: {_code(gap.command)}" for gap in report.gaps]
    lines += ["", f"Written by edgevit {installed_version('edgevit') or ''}."]
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str, note: str) -> str:
    return f"{text} ({note})" if text and note else text


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], right: int) -> list[str]:
    """A table whose last columns are aligned to the right; cells are shown as they are."""
    rule = ["---"] * (len(head) - right) + ["---:"] * right
    shown = ([*map(_escape, row)] for row in rows)
    return [f"| {' | '.join(row)} |" for row in (head, rule, *shown)]


def _escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    text = " ".join(text.split())
    for sign in ("\\", "`", "*", "_", "|", "<", "[", "]"):
        text = text.replace(sign, "\\" + sign)
    return text


def _code(text: str) -> str:
    """Text as a span of code."""
    fence = "``" if "`" in text else "`"
    return f"{fence} {text} {fence}" if fence == "``" else f"`{text}`"

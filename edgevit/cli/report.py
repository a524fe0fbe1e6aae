"""``edgevit report``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgevit.cli import console, options


@click.command()
@click.argument("folder", metavar="DIR", type=options.PATH)
@click.option(
    "--out",
    type=options.PATH,
    metavar="FILE",
    help="The page. Default: DIR/report.html, with --markdown DIR/report.md.",
)
@click.option("--markdown", is_flag=True, help="Markdown for a model card, instead of HTML.")
@click.option(
    "--verify", "run", is_flag=True, help="Run every file against its golden images first."
)
@click.option(
    "--with",
    "evidence",
    multiple=True,
    type=options.PATH,
    metavar="PATH",
    help="More evidence: JSON of other commands, or a folder of it or of drawings. Repeatable.",
)
@click.option("--title", help="Of the page. Default: the models' names.")
@options.as_json
def report(
    folder: Path,
    out: Path | None,
    markdown: bool,
    run: bool,
    evidence: tuple[Path, ...],
    title: str | None,
    as_json: bool,
) -> None:
    """Write one page about the exported files in DIR.

    One HTML file without scripts, fonts or pictures from elsewhere: which file to take, sizes,
    verdicts as the exports measured them (--verify runs the files again), what is inside, and
    every measurement whose JSON lies in DIR (or is given by --with): accuracy with its interval and
    agreement (edgevit verify --data, edgevit evaluate), latency (edgevit benchmark --out), where
    the time goes (edgevit profile) and drawings (edgevit explain --out DIR/explanations). What is
    missing is listed with the command that fills it. Files that failed stand first.

    \b
    edgevit report exports
    edgevit report exports --verify --out page.html
    edgevit verify exports/a.tflite --data cifar10.tar.gz --json > exports/a.tflite.verify.json
    edgevit report exports --markdown --out card.md
    """
    from edgevit.reports.view import recommend, verdict_text
    from edgevit.verbs.report import write_report

    with console.working() as work:
        written = write_report(
            folder,
            out,
            evidence=evidence,
            markdown=markdown,
            run=run,
            title=title,
            status=work.status,
        )
    found, place = written.report, written.path

    def answer() -> str:
        lines = [f"{file.name}: {verdict_text(file)}" for file in found.files if file.damage]
        advice = recommend(found)
        lines = [advice, *lines] if advice else lines
        missing = ", ".join(gap.what.partition(":")[0] for gap in found.gaps)
        lines += [f"{console.paint('warning:')} {line}" for line in found.warnings]
        lines += [f"not used: {line}" for line in found.ignored]
        lines.append(
            f"{len(found.files)} files" + (f"; not measured: {missing}" if missing else "")
        )
        lines.append(f"{console.shown_path(place)}, {written.size_bytes / 1e3:,.0f} kB")
        return "\n".join(lines)

    document = {"path": place, "verdict": found.verdict, "report": found}
    console.answer(document, as_json, answer)
    if found.verdict == "fail":
        sys.exit(1)

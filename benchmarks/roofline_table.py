"""How far exported files are from what the machine could do, as a Markdown table and raw samples.

    python benchmarks/roofline_table.py exports/*.tflite exports/*.onnx \\
        --json benchmarks/results/roofline.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgevit.bench.benchmark import ROUNDS
from edgevit.bench.cases import plan_cases
from edgevit.bench.roofline import run_with_roofline
from edgevit.core.benchmarks import BenchmarkResult
from edgevit.reports.text import summarise_benchmark


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", help="exported .tflite and .onnx files")
    parser.add_argument("--threads", type=int, nargs="*", default=[1])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="where to write the raw samples")
    options = parser.parse_args()
    result = run_with_roofline(
        plan_cases(options.files, threads=options.threads), rounds=options.rounds
    )
    print(render(result))
    for row in result.rows:
        if row.failure:
            print(f"\n{row.case.file}: {row.failure}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(result.without_folders().to_text())


def render(result: BenchmarkResult) -> str:
    """The table, the rates behind it, and what is wrong with the machine."""
    assert result.roofline is not None
    headings = ["file", "runtime", "threads", "MMAC", "MB moved", "ms", "limit ms", "of limit"]
    lines = [
        str(result.environment),
        "",
        "| " + " | ".join([*headings, "bound by"]) + " |",
        "| --- | --- |" + " ---: |" * 6 + " --- |",
    ]
    for row in summarise_benchmark(result):
        cells = [Path(row["file"]).name, row["runtime"], str(row["threads"])]
        if row["macs"] is None or row["uncounted"] or row["limit_ms"] is None:
            reason = ", ".join(row["uncounted"] or ()) or "not counted"
            cells += ["-", "-", "-" if row["median_ms"] is None else f"{row['median_ms']:.3f}"]
            cells += ["-", "-", reason]
        else:
            measured = row["median_ms"] is not None
            cells += [
                f"{row['macs'] / 1e6:.1f}",
                f"{row['bytes'] / 1e6:.1f}",
                f"{row['median_ms']:.3f}" if measured else "failed",
                f"{row['limit_ms']:.3f}",
                f"{100 * row['share_of_limit']:.0f} %" if measured else "-",
                row["bound"],
            ]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for roof in result.roofline.roofs:
        case = roof.measurement.case
        rate = f"{roof.macs_per_second / 1e9:.1f}" if roof.measurement.measured else "?"
        lines.append(
            f"- a large {roof.precision} product in {case.runtime}, {case.threads} threads: "
            f"{rate} GMAC/s"
        )
    for one in result.roofline.bandwidths:
        lines.append(
            f"- copying within {one.working_set_bytes / 1e6:.1f} MB, {one.threads} threads: "
            f"{one.bytes_per_second / 1e9:.1f} GB/s"
        )
    return "\n".join([*lines, *(f"- warning: {warning}" for warning in result.warnings)])


if __name__ == "__main__":
    main()

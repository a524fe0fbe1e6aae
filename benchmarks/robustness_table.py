"""What became of damaged inputs and of kills: counts out of logs of tests/robustness, as tables.

    python -m robustness.campaign --cases 3000 --log campaign.jsonl      (in tests/)
    python -m robustness.kills --times 100 --base FOLDER --log kills.jsonl
    python benchmarks/robustness_table.py --campaign campaign.jsonl --kills kills.jsonl --json \\
        benchmarks/results/robustness.json
    python benchmarks/robustness_table.py --page

Several logs, of other seeds, add up.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from provenance import RESULTS, ROOT, result_path, write_result
from results_page import table

DEFAULT = RESULTS / "robustness.json"
PAGE = ROOT / "docs" / "SECURITY.md"
BEGIN, END = "<!-- robustness -->\n", "<!-- end of robustness -->\n"
NEVER = (
    *("traceback", "internal error", "signal", "hang", "memory", "touched", "litter"),
    "pass on damage",
)
WANTED = {"SIGKILL": "-9", "SIGTERM": "143", "SIGINT": "130"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--campaign", type=Path, nargs="+", default=[], help="logs")
    parser.add_argument("--kills", type=Path, nargs="+", default=[], help="logs")
    parser.add_argument("--json", type=result_path, help="where to write the counts")
    parser.add_argument("--page", action="store_true", help="only write the committed result there")
    options = parser.parse_args()
    if options.page:
        PAGE.write_text(render_page(PAGE.read_text(), json.loads(DEFAULT.read_text())["rows"]))
        return
    cases, kills = list(_read(options.campaign)), list(_read(options.kills))
    rows = [
        *count_cases(cases, "kind"),
        *count_cases(cases, "verb"),
        *count_kills([row for row in kills if "signal" in row]),
        *({"resumed": row["resumed"], "of": row["of"]} for row in kills if "resumed" in row),
    ]
    print("\n".join(render_table(rows)))
    if options.json:
        write_result(options.json, {"rows": rows}, ["shiftvit:nano"])


def _read(logs: Iterable[Path]) -> Iterable[dict[str, Any]]:
    for log in logs:
        yield from map(json.loads, log.read_text().splitlines())


def count_cases(cases: Sequence[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    """A row for each kind of input, or for each verb.

    Args:
        cases: lines of the campaign's log.
        key: "kind" or "verb".
    """
    rows = []
    for name in dict.fromkeys(case[key] for case in cases):
        own = [case for case in cases if case[key] == name]
        rows.append(
            {
                key: name,
                "tried": len(own),
                "faults": dict(Counter(fault for case in own for fault in case["faults"])),
                "codes": dict(Counter(str(case["code"]) for case in own)),
                "slowest_s": round(max(case["seconds"] for case in own), 1),
                "peak_bytes": max(case["peak"] for case in own),
            }
        )
    return rows


def count_kills(kills: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each verb and signal, over all seeds."""
    rows = []
    for verb, signal in dict.fromkeys((row["verb"], row["signal"]) for row in kills):
        own = [row for row in kills if (row["verb"], row["signal"]) == (verb, signal)]
        codes = sum((Counter(row["codes"]) for row in own), Counter())
        sums = {n: sum(r[n] for r in own) for n in ("partial", "orphans", "faults", "litter")}
        rows.append({"killed": verb, "signal": signal, "codes": dict(codes), **sums})
    return rows


def render_page(text: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """A page with the tables between its marks."""
    before, rest = text.split(BEGIN)
    table = "\n".join(render_table(rows))
    return f"{before}{BEGIN}\n{table}\n\n{END}{rest.split(END)[1]}"


def render_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Damaged inputs by kind and by verb, then kills, in Markdown."""
    lines = []
    for key in ("kind", "verb"):
        own = [row for row in rows if key in row]
        lines += _render_cases(own, key)
    killed = []
    for row in (row for row in rows if "killed" in row):
        count, right = sum(row["codes"].values()), row["codes"].get(WANTED[row["signal"]], 0)
        figures = (row["signal"], count, right, row["partial"], row["orphans"], row["litter"])
        killed.append([f"`{row['killed']}`", *figures])
    names = ["kills", "exit code right", "partial files", "processes left"]
    lines.append(table(["killed", "signal", *names, "litter after the next run"], killed))
    resumed, of = (sum(row[name] for row in rows if "resumed" in row) for name in ("resumed", "of"))
    return [
        *lines,
        "",
        f"Trainings that went on to the same weights after a SIGKILL: {resumed} of {of}.",
    ]


def _render_cases(rows: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    shown = [
        [
            f"`{row[key]}`" if key == "verb" else row[key],
            row["tried"],
            *(row["faults"].get(fault, 0) for fault in NEVER),
            row["slowest_s"],
            f"{row['peak_bytes'] >> 20:,}",
        ]
        for row in rows
    ]
    faults = (sum(row["faults"].get(fault, 0) for row in rows) for fault in NEVER)
    slowest, peak = (max(row[name] for row in rows) for name in ("slowest_s", "peak_bytes"))
    shown.append(["all", sum(row["tried"] for row in rows), *faults, slowest, f"{peak >> 20:,}"])
    head = {"kind": "input", "verb": "command"}[key]
    return [table([head, "tried", *NEVER, "slowest, s", "most memory, MiB"], shown), ""]


if __name__ == "__main__":
    main()

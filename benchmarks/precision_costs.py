"""What each precision costs trained networks: the figures that the limits of verdicts come from.

Shipped networks are exported with the ranges that ship, the small ones of small_networks.py with
calibration samples of their own, of which some are held out. For each target: mean error of the
worst column over its deviation, the measure of the role, and how far two kernel sets of the same
file are apart. See docs/decisions/0017-two-halves-of-a-verdict.md.

    python benchmarks/precision_costs.py resnet8 unet shiftvit:nano --networks FOLDER
    python benchmarks/precision_costs.py --table
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from provenance import RESULTS, result_path, write_result
from small_networks import NETWORKS, draw_samples, train

from edgevit.base.errors import EdgevitError
from edgevit.core.signature import Role
from edgevit.core.target import Target
from edgevit.core.tolerance import Limit
from edgevit.formats.registry import TARGETS, find_targets
from edgevit.reports.text import summarise_outputs
from edgevit.verbs.export import export

SAMPLES = 320  # for calibration, with those that are held out
DEFAULT = RESULTS / "precision_costs.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="shipped or small networks")
    parser.add_argument("--networks", type=Path, default=Path("networks"), help="small ones")
    parser.add_argument("--targets", default="all", help="commas between")
    parser.add_argument("--json", type=result_path, help="where to add the figures")
    parser.add_argument("--table", action="store_true", help="only print what was measured")
    options = parser.parse_args()
    if options.table:
        print("\n".join(render_table(json.loads((options.json or DEFAULT).read_text())["rows"])))
        return
    document = (
        json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    )
    rows = [row for row in document.get("rows", ()) if row["network"] not in options.names]
    for name in options.names:
        rows += measure_network(name, options.networks, options.targets)
        if options.json:
            shipped = sorted({row["network"] for row in rows} - set(NETWORKS))
            write_result(options.json, {"rows": rows}, shipped)


def measure_network(name: str, folder: Path, targets: str) -> list[dict[str, Any]]:
    """One row for each target and output of a network."""
    rows = []
    arguments: dict[str, Any] = {"keep_failed": True}
    model: Any = name
    if name in NETWORKS:
        model = str(train(name, folder))
        arguments["calibration"] = draw_samples(name, SAMPLES, seed=11)[0]
    for target in find_targets(targets):
        with tempfile.TemporaryDirectory() as out:
            try:
                outcome = export(model, target.name, out, **arguments)
            except EdgevitError as error:
                print(f"{name:16} {target.name:20} refused: {error}", flush=True)
                rows.append({"network": name, "target": target.name, "refused": str(error)})
                continue
        kernels = [report for report in outcome.reports if report.samples == "kernels"]
        for output, figures in summarise_outputs(outcome.reports).items():
            apart = [o.relative for r in kernels for o in r.outputs if o.name == output]
            row = {
                "network": name,
                "target": target.name,
                "output": output,
                **figures,
                "kernels": max(apart, default=None),
                "verdict": str(outcome.verdict),
                "suspects": [row.layer for row in outcome.suspects],
            }
            rows.append(row)
            print_row(row)
    return rows


# Roles that have limits of their own, as they are called in the table.
GROUPS = {
    "scores": (Role.LOGITS, Role.PROBABILITIES),
    "mask": (Role.MASK,),
    "embedding": (Role.EMBEDDING,),
    "values, map": (Role.VALUES, Role.MAP),
}


def render_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Median and worst of each group of roles at each target, with the network, and the limit."""
    networks = list(dict.fromkeys(row["network"] for row in rows))
    lines = [
        f"{len(networks)} networks: {', '.join(networks)}.",
        "",
        "| target | output | outputs | mean/std: median | worst | limit | measure: median | worst |"
        " limit | kernels: worst | limit |",
        f"|{' --- |' * 11}",
    ]
    for target in TARGETS.values():
        for group, roles in GROUPS.items():
            found = [
                row
                for row in rows
                if row["target"] == target.name and row.get("role") in map(str, roles)
            ]
            if found:
                lines.append(_render_group(target, group, found, target.tolerance.limit(roles[0])))
    return lines


def _render_group(target: Target, group: str, rows: Sequence[dict[str, Any]], limit: Limit) -> str:
    relative = _spread(rows, "relative", max)
    measured = [row for row in rows if row["agreement"] is not None]
    agreement = _spread(measured, "agreement", min) if measured else ["", ""]
    apart = [row for row in rows if row["kernels"] is not None]
    kernels = _spread(apart, "kernels", max)[1] if apart else ""
    cells = [
        *(f"`{target.name}`", group, str(len(rows))),
        *(*relative, f"{100 * limit.relative:g} %"),
        *(*agreement, f"{100 * limit.agreement:g} %" if measured else ""),
        *(kernels, f"{100 * target.tolerance.kernels:g} %" if apart else ""),
    ]
    return f"| {' | '.join(cells)} |"


def _spread(
    rows: Sequence[dict[str, Any]], key: str, worst: Callable[..., dict[str, Any]]
) -> list[str]:
    """(median, worst with its network) of a figure, in percent."""
    known = worst(rows, key=lambda row: row[key])
    middle = statistics.median(row[key] for row in rows)
    return [f"{100 * middle:.3g} %", f"{100 * known[key]:.3g} % ({known['network']})"]


def print_row(row: dict[str, Any]) -> None:
    kernels = "" if row["kernels"] is None else f", kernels {100 * row['kernels']:.2g} %"
    print(
        f"{row['network']:16} {row['target']:20} {row['output']:10} {row['role']:13} error "
        f"{row['error']:.2g}, mean/std {100 * row['relative']:.3g} %, agreement "
        f"{100 * row['agreement']:.1f} %{kernels}; {row['verdict']}",
        flush=True,
    )


if __name__ == "__main__":
    main()

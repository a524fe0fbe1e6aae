"""What each precision costs trained networks: the figures that the limits of verdicts come from.

Shipped networks are exported with the ranges that ship, the small ones of small_networks.py with
calibration samples of their own, of which some are held out. For each target: mean error of the
worst column over its deviation, the measure of the role, and how far two kernel sets of the same
file are apart. See docs/decisions/0017-two-halves-of-a-verdict.md.

    python benchmarks/precision_costs.py resnet8 unet shiftvit:nano --networks FOLDER
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from provenance import RESULTS, result_path, write_result
from small_networks import NETWORKS, draw_samples, train

from edgevit.base.errors import EdgevitError
from edgevit.formats.registry import find_target, find_targets
from edgevit.reports.text import summarise_outputs
from edgevit.verbs.export import export

SAMPLES = 320  # for calibration, with those that are held out
DEFAULT = RESULTS / "precision_costs.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", help="shipped or small networks")
    parser.add_argument("--networks", type=Path, default=Path("networks"), help="small ones")
    parser.add_argument("--targets", default="all", help="commas between")
    parser.add_argument("--json", type=result_path, help="where to add the figures")
    options = parser.parse_args()
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
                "limit": find_target(target.name).tolerance.limit(figures["role"]).relative,
            }
            rows.append(row)
            print_row(row)
    return rows


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

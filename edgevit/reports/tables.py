"""Runs of a file as rows of cells, which the terminal and Jupyter show each in its own way."""

from __future__ import annotations

from collections.abc import Sequence

from edgevit.base.markup import Row
from edgevit.core.parity import KERNELS, MEASURES, OWN, SYNTHETIC, OutputParity, ParityReport
from edgevit.core.signature import Role
from edgevit.core.tolerance import Tolerance

KINDS = {SYNTHETIC: "golden", OWN: "own", KERNELS: "kernels"}


def list_runs(
    reports: Sequence[ParityReport], tolerance: Tolerance, real: ParityReport | None = None
) -> list[Row]:
    """A row for each output of each run of a file.

    Args:
        reports: of the file's runs.
        tolerance: how far it may be.
        real: the one of them that is on a dataset's images.
    """
    rows = []
    for report in reports:
        kind = "real" if report is real else KINDS[report.samples]
        for output in report.outputs:
            allowed = output.allowed(tolerance)
            verdict, limit = output.verdict(tolerance), allowed.limit(output.role).relative
            if report.samples == KERNELS:
                verdict, limit = report.verdict(tolerance), output.apart(tolerance)
            judged = report.samples != KERNELS
            rows.append(
                {
                    "runtime": report.runtime,
                    **({"output": output.name} if len(report.outputs) > 1 else {}),
                    "images": f"{output.images} {kind}",
                    "verdict": str(verdict),
                    "max |diff|": f"{output.max_abs:.3g}",
                    "mean |diff|": f"{output.mean_abs:.3g}",
                    "mean/std": share_and_limit(output.relative, limit),
                    **agreement_column(output, output.agreement, tolerance if judged else None),
                }
            )
    return rows


def agreement_column(
    output: OutputParity, agreement: float, tolerance: Tolerance | None = None
) -> dict[str, str]:
    """The measure of an output's role as a column of a table; none where it has none.

    Args:
        output: whose role and limit are meant.
        agreement: to show, in [0, 1].
        tolerance: whose limit stands beside it; None: no limit is meant.
    """
    if output.role not in MEASURES:
        return {}
    plain = output.role is Role.EMBEDDING
    shown = f"{agreement:.4f}" if plain else f"{100 * agreement:.1f} %"
    limit = tolerance.limit(output.role).agreement if tolerance else None
    if limit and not output.one_sided:
        shown += f" (≥ {limit:g})" if plain else f" (≥ {100 * limit:.3g} %)"
    return {MEASURES[output.role]: shown}


def share_and_limit(share: float, limit: float | None = None) -> str:
    """A share in percent with the limit that it must not exceed; no limit is None or infinity."""
    shown = f"{100 * share:.2g} %"
    return f"{shown} (≤ {100 * limit:.3g} %)" if limit and limit < float("inf") else shown

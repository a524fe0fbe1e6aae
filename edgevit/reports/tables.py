"""Results as rows of cells, which the terminal, Jupyter and a page show each in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edgevit.core.inspection import Inspection
from edgevit.core.layer_errors import LayerDiff, LayerError
from edgevit.core.parity import KERNELS, MEASURES, OWN, SYNTHETIC, OutputParity, ParityReport
from edgevit.core.signature import Role
from edgevit.core.tolerance import Tolerance

Row = dict[str, str]
SAMPLES = {SYNTHETIC: "golden", OWN: "own", KERNELS: "kernels"}


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
        kind = "real" if report is real else SAMPLES[report.samples]
        for output in report.outputs:
            verdict, limit = output.verdict(tolerance), tolerance.limit(output.role).relative
            if report.samples == KERNELS:
                verdict, limit = report.verdict(tolerance), tolerance.kernels
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


def list_layers(layers: Sequence[LayerError]) -> list[Row]:
    """A row for each layer that was compared."""
    integers = any(row.saturated is not None for row in layers)
    return [
        {
            "layer": _step(row),
            "computed by": row.op,
            "adds dB": _decibels(row.sqnr_db),
            "cosine": f"{row.cosine:.5f}",
            "total dB": _decibels(row.total_sqnr_db),
            "total cosine": f"{row.total_cosine:.5f}",
            **(
                {"saturated": _share(row.saturated), "clipped": _share(row.clipped)}
                if integers
                else {}
            ),
            "beyond dB": f"{row.excess_db:+.1f}",
        }
        for row in layers
    ]


def list_operators(found: Inspection) -> list[Row]:
    """A row for each kind of operator in a file."""
    return [
        {
            "operator": name,
            "count": str(count),
            "on floats": str(found.float_ops.get(name, "-")),
        }
        for name, count in found.ops.items()
    ]


def show_layers(found: LayerDiff) -> str:
    """Layers as HTML, in the order of computation; suspects are named above."""
    suspects = ", ".join(row.layer for row in found.suspects) or "none"
    title = f"{found.file} ({found.target}, {found.runtime}): suspect layers: {suspects}"
    return show_table(title, list_layers(found.layers))


def show_operators(found: Inspection) -> str:
    """The operators of a file as HTML."""
    integers = "integers only" if found.integer_only else "floats inside"
    title = f"{found.format}, {found.size_bytes / 1e6:.2f} MB, {integers}"
    return show_table(title, list_operators(found))


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


def _step(row: LayerError) -> str:
    """The layer, or the first and the last of several that are one step."""
    return f"{row.layer} .. {row.last.rpartition('/')[2]}" if row.last else row.layer


def _decibels(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"

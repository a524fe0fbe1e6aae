"""``edgevit models`` and ``edgevit targets``."""

from __future__ import annotations

from typing import Any

import click

from edgevit.cli import console, options


@click.command()
@options.as_json
def models(as_json: bool) -> None:
    """List the architectures, their sizes and whether weights ship with them."""
    from edgevit.models import list_models, shipped_names

    rows: list[dict[str, Any]] = []
    there = shipped_names()
    for spec in list_models().values():
        rows.append(
            {
                "name": spec.name,
                "title": spec.title,
                "paper": spec.paper,
                "variants": list(spec.variants),
                "outputs": list(spec.outputs),
                "extra_outputs": list(spec.extra_outputs),
                "classes": list(spec.class_names),
                "weights": spec.name in there,
                "shipped": [name for name in there if name.partition(":")[0] == spec.name],
            }
        )

    def text() -> str:
        return (
            console.table(
                ["model", "variants", "outputs", "weights", "paper"],
                [
                    [
                        row["name"],
                        ", ".join(row["variants"]),
                        ", ".join(
                            [*row["outputs"], *(f"({name})" for name in row["extra_outputs"])]
                        ),
                        ", ".join(row["shipped"]) or "-",
                        f"{row['title']}: {row['paper']}",
                    ]
                    for row in rows
                ],
            )
            + "\n(in brackets): outputs on request, --outputs NAME or --outputs all."
        )

    console.answer(rows, as_json, text)


@click.command()
@options.as_json
def targets(as_json: bool) -> None:
    """List what a model can be exported to, and how strictly each is verified."""
    from edgevit.formats.registry import list_targets
    from edgevit.formats.tflite.writer.passes import PASSES

    rows = [
        {
            "name": target.name,
            "runtime": target.runtimes[0],
            "needs_calibration": target.needs_calibration,
            "integer_only": target.integer_only,
            "tolerance": target.tolerance,
            "summary": target.summary,
        }
        for target in list_targets().values()
    ]

    def text() -> str:
        drawn = console.table(
            ["target", "runtime", "passes if", "what it is"],
            [
                [target.name, target.runtimes[0], _limits(target.tolerance), target.summary]
                for target in list_targets().values()
            ],
        )
        steps = (
            f"  {step.name}{'' if step.default else ' (on request)'}: {step.summary}"
            for step in PASSES.values()
        )
        heading = "Steps that rewrite a TFLite graph before it is quantised (--surgery):"
        return "\n".join([drawn, heading, *steps])

    console.answer(rows, as_json, text)


def _limits(tolerance) -> str:
    limits = [f"same top-1 >= {100 * tolerance.min_agreement:.0f} %"]
    if tolerance.max_abs is not None:
        limits.insert(0, f"|diff| <= {tolerance.max_abs:g}")
    limits.append(f"mean/std <= {100 * tolerance.max_relative:g} %")
    return ", ".join(limits)

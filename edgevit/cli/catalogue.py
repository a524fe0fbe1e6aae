"""``edgevit models`` and ``edgevit targets``."""

from __future__ import annotations

import click

from edgevit.cli import console, options
from edgevit.core.tolerance import Tolerance


@click.command()
@options.as_json
def models(as_json: bool) -> None:
    """List the architectures, their sizes and whether weights ship with them."""
    from edgevit.models import list_models, shipped_names

    there = shipped_names()
    shipped = {
        spec: [name for name in there if name.partition(":")[0] == spec] for spec in list_models()
    }
    document = [
        {
            "name": spec.name,
            "title": spec.title,
            "paper": spec.paper,
            "variants": spec.variants,
            "outputs": spec.outputs,
            "extra_outputs": spec.extra_outputs,
            "classes": spec.class_names,
            "weights": spec.name in there,
            "shipped": shipped[spec.name],
        }
        for spec in list_models().values()
    ]

    def text() -> str:
        rows = [
            {
                "model": spec.name,
                "variants": ", ".join(spec.variants),
                "outputs": ", ".join(
                    [*spec.outputs, *(f"({name})" for name in spec.extra_outputs)]
                ),
                "weights": ", ".join(shipped[spec.name]) or "-",
                "paper": f"{spec.title}: {spec.paper}",
            }
            for spec in list_models().values()
        ]
        note = "(in brackets): outputs on request, --outputs NAME or --outputs all."
        return f"{console.table(rows)}\n{note}"

    console.answer(document, as_json, text)


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
            [
                {
                    "target": target.name,
                    "runtime": target.runtimes[0],
                    "passes if": _limits(target.tolerance),
                    "what it is": target.summary,
                }
                for target in list_targets().values()
            ]
        )
        steps = (
            f"  {step.name}{'' if step.default else ' (on request)'}: {step.summary}"
            for step in PASSES.values()
        )
        heading = "Steps that rewrite a TFLite graph before it is quantised (--surgery):"
        return "\n".join([drawn, heading, *steps])

    console.answer(rows, as_json, text)


def _limits(tolerance: Tolerance) -> str:
    """Limits of a classifier's logits; other roles have their own, which --json lists."""
    from edgevit.core.signature import Role

    limit = tolerance.limit(Role.LOGITS)
    exact = [] if tolerance.exact is None else [f"|diff| <= {tolerance.exact:g} of the scale"]
    agreement = f"same top-1 >= {100 * limit.agreement:.0f} %"
    return ", ".join([*exact, agreement, f"mean/std <= {100 * limit.relative:g} %"])

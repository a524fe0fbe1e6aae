"""``edgevit models`` and ``edgevit targets``."""

from __future__ import annotations

import click

from edgevit.cli import console, options
from edgevit.core.tolerance import Tolerance


@click.command()
@options.as_json
def models(as_json: bool) -> None:
    """List the networks with trained weights, and the architectures with their sizes.

    A network is named as the first table does, such as shiftvit:nano. Weights that do not come with
    the package are found by EDGEVIT_WEIGHTS, a folder or an address.
    """
    from edgevit.models import list_models
    from edgevit.models.shipped import list_shipped, locate

    shipped = list_shipped()
    here = {name: locate(name) is not None for name in shipped}
    document = [
        {
            "name": spec.name,
            "title": spec.title,
            "paper": spec.paper,
            "variants": spec.variants,
            "outputs": spec.outputs,
            "extra_outputs": spec.extra_outputs,
            "classes": spec.class_names,
            "weights": spec.name in shipped,
            "shipped": [name for name in shipped if name.partition(":")[0] == spec.name],
            "networks": {
                name: {
                    "parameters": row.parameters,
                    "size_bytes": row.size_bytes,
                    "input_size": row.input_size,
                    "top1": row.top1,
                    "dataset": row.dataset,
                    "in_package": row.in_package,
                    "here": here[name],
                }
                for name, row in shipped.items()
                if name.partition(":")[0] == spec.name
            },
        }
        for spec in list_models().values()
    ]

    def text() -> str:
        networks = [
            {
                "trained network": name,
                "parameters": f"{row.parameters:,}",
                "weights MB": f"{row.size_bytes / 1e6:.1f}",
                "pixels": "x".join(map(str, row.input_size)),
                "top-1 %": f"{row.top1:.2f}",
                "weights": _place(row.in_package, here[name]),
            }
            for name, row in shipped.items()
        ]
        architectures = [
            {
                "architecture": spec.name,
                "sizes": ", ".join(spec.variants),
                "outputs": ", ".join(
                    [*spec.outputs, *(f"({name})" for name in spec.extra_outputs)]
                ),
                "paper": f"{spec.title}: {spec.paper}",
            }
            for spec in list_models().values()
        ]
        sets = ", ".join(dict.fromkeys(row.dataset for row in shipped.values()))
        return "\n".join(
            [
                console.table(networks, words=("trained network", "weights")),
                f"top-1: float Keras on the test images of {sets}.",
                console.table(architectures),
                "(in brackets): outputs on request, --outputs NAME or --outputs all.",
            ]
        )

    console.answer(document, as_json, text)


def _place(in_package: bool, here: bool) -> str:
    if here:
        return "here"
    return "missing" if in_package else "by EDGEVIT_WEIGHTS"


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
            "clients": target.clients,
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
        clients = (f"  {row.name}: {row.clients}" for row in list_targets().values() if row.clients)
        taken = "What takes a file as it is written by default (a uint8 picture in):"
        steps = (
            f"  {step.name}{'' if step.default else ' (on request)'}: {step.summary}"
            for step in PASSES.values()
        )
        heading = "Steps that rewrite a TFLite graph before it is quantised (--surgery):"
        return "\n".join([drawn, taken, *clients, heading, *steps])

    console.answer(rows, as_json, text)


def _limits(tolerance: Tolerance) -> str:
    """Limits of a classifier's logits; other roles have their own, which --json lists."""
    from edgevit.core.signature import Role

    limit = tolerance.limit(Role.LOGITS)
    exact = [] if tolerance.exact is None else [f"|diff| <= {tolerance.exact:g} of the scale"]
    agreement = f"same top-1 >= {100 * limit.agreement:.0f} %"
    return ", ".join([*exact, agreement, f"mean/std <= {100 * limit.relative:g} %"])

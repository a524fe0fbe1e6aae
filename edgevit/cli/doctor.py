"""``edgevit doctor``."""

from __future__ import annotations

import platform
import shutil
from typing import Any

import click

from edgevit.base.errors import name_remedy
from edgevit.base.packages import PICTURES, REPORT, TRAINING, Need
from edgevit.cli import console, options

# option -> (program it needs, how to get it)
PROGRAMS: dict[str, tuple[str, str]] = {
    "benchmark --instructions": ("valgrind", "apt install valgrind"),
}


@click.command()
@options.as_json
def doctor(as_json: bool) -> None:
    """Say what is installed, what is missing for which target and runtime, and how to get it."""
    from edgevit.base.versions import installed_version
    from edgevit.formats.registry import FORMATS, RUNTIMES
    from edgevit.models.shipped import list_shipped, locate

    needs: dict[str, tuple[Need, ...]] = {
        **{str(kind): spec.writer_needs for kind, spec in FORMATS.items()},
        **{f"runtime {row.name}": (row.need,) for row in RUNTIMES.values() if row.device == "cpu"},
        "train": (*TRAINING, Need("jax", "train")),
        "pictures": PICTURES,
        "report": REPORT,
        "benchmark --device gpu": (Need("onnxruntime-gpu", "gpu"),),
    }
    packages = {
        name: installed_version(name)
        for name in sorted({need.distribution for row in needs.values() for need in row})
    }
    found: dict[str, tuple[list[str], str]] = {}
    for purpose, row in needs.items():
        wanted = [need for need in row if packages[need.distribution] is None]
        extras = ",".join(dict.fromkeys(need.extra for need in wanted))
        missing = [need.distribution for need in wanted]
        found[purpose] = missing, name_remedy(missing, extras).removeprefix("Run: ")
    for purpose, (program, how) in PROGRAMS.items():
        found[purpose] = ([] if shutil.which(program) else [program], how)
    checks: dict[str, dict[str, Any]] = {
        purpose: {"ready": not missing, "missing": missing, "get": how if missing else ""}
        for purpose, (missing, how) in found.items()
    }
    shipped = {name: locate(name) is not None for name in list_shipped()}
    lacking = [name for name, there in shipped.items() if not there]
    document = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": packages,
        "checks": checks,
        "weights": shipped,
    }

    def text() -> str:
        rows = [
            {
                "for": purpose,
                "state": "ready" if check["ready"] else "missing",
                "lacks": ", ".join(check["missing"]),
                "get it with": check["get"],
            }
            for purpose, check in checks.items()
        ]
        versions = ", ".join(f"{name} {number}" for name, number in packages.items() if number)
        weights = ", ".join(name for name, there in shipped.items() if there) or "none"
        if lacking:
            weights += f"; by EDGEVIT_WEIGHTS (a folder or an address): {', '.join(lacking)}"
        return "\n".join(
            [
                f"Python {platform.python_version()} on {platform.machine()}",
                versions or "no framework is installed",
                console.table(rows),
                f"weights here: {weights}",
            ]
        )

    console.answer(document, as_json, text)

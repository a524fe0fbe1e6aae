"""``edgevit doctor``."""

from __future__ import annotations

import platform
import shutil
from typing import Any

import click

from edgevit.cli import console, options

# verb or target -> (distributions it needs, extra that brings them)
NEEDS: dict[str, tuple[tuple[str, ...], str]] = {
    "savedmodel": (("keras", "tensorflow"), "tensorflow"),
    "tflite": (("keras", "tensorflow", "ai-edge-litert"), "export"),
    "onnx": (("keras", "tensorflow", "tf2onnx", "onnx", "onnxruntime"), "export"),
    "verify tflite": (("ai-edge-litert",), "litert"),
    "verify onnx": (("onnxruntime",), "onnx"),
    "train": (("keras", "tensorflow", "jax", "matplotlib"), "train"),
    "pictures": (("matplotlib",), "train"),
    "benchmark --device gpu": (("onnxruntime-gpu",), "gpu"),
}

# option -> (program it needs, how to get it)
PROGRAMS: dict[str, tuple[str, str]] = {
    "benchmark --instructions": ("valgrind", "apt install valgrind"),
}


@click.command()
@options.as_json
def doctor(as_json: bool) -> None:
    """Say what is installed, what is missing for which target and runtime, and how to get it."""
    from edgevit.base.versions import installed_version
    from edgevit.formats.registry import RUNTIMES
    from edgevit.models import MODELS, shipped_names

    needs = dict(NEEDS)
    for row in RUNTIMES.values():
        if row.device == "cpu":
            needs[f"runtime {row.name}"] = (row.package,), row.extra
    packages = {
        name: installed_version(name)
        for name in sorted({name for names, _ in needs.values() for name in names})
    }
    found = {
        purpose: (
            [name for name in names if packages[name] is None],
            f"pip install 'edgevit[{extra}]'",
        )
        for purpose, (names, extra) in needs.items()
    }
    for purpose, (program, how) in PROGRAMS.items():
        found[purpose] = ([] if shutil.which(program) else [program], how)
    checks: dict[str, dict[str, Any]] = {
        purpose: {"ready": not missing, "missing": missing, "get": how if missing else ""}
        for purpose, (missing, how) in found.items()
    }
    weighted = shipped_names()
    shipped = {name: name in weighted for name in [*MODELS, *weighted]}
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
                "state": "ready" if check["ready"] else "missing " + ", ".join(check["missing"]),
                "get it with": check["get"],
            }
            for purpose, check in checks.items()
        ]
        versions = ", ".join(f"{name} {number}" for name, number in packages.items() if number)
        weights = ", ".join(
            f"{name}: {'there' if there else 'missing'}" for name, there in shipped.items()
        )
        return "\n".join(
            [
                f"Python {platform.python_version()} on {platform.machine()}",
                versions or "no framework is installed",
                console.table(rows),
                f"shipped weights: {weights}",
            ]
        )

    console.answer(document, as_json, text)

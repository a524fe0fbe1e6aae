"""Writes edgevit/models/registry.json: what ships in artifacts/, with sizes and digests.

    python tools/write_registry.py

Run it after tools/ship_weights.py. A test refuses a registry of other files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

from edgevit.base.files import digest_path, write_whole
from edgevit.models import MODELS
from edgevit.models.shipped import ARTIFACTS, REGISTRY, WEIGHTS, folder_name

# What a wheel holds: 30 MB. The others are found by EDGEVIT_WEIGHTS.
IN_PACKAGE = ("shiftvit", "shiftvit:nano", "patchconvnet", "patchconvnet:nano", "resnet:mlperf")
FILES = (WEIGHTS, "ranges.json", "ranges-onnx.json", "recipe.json")
DATASETS = {"cifar10-jpeg.tar.gz": "CIFAR-10 (JPEG q75)"}


def render_registry() -> str:
    """The registry of what lies in artifacts/ now, as JSON."""
    sizes = [(name, size) for name, spec in MODELS.items() for size in (None, *spec.variants)]
    names = [f"{name}:{size}" if size else name for name, size in sizes]
    there = [name for name in names if (ARTIFACTS / folder_name(name) / WEIGHTS).exists()]
    return json.dumps({name: _describe(name) for name in there}, indent=1) + "\n"


def _describe(name: str) -> dict[str, Any]:
    folder = ARTIFACTS / folder_name(name)
    measured = json.loads((folder / "robustness.json").read_text())["accuracy"]
    report = measured["keras-float32"]["as is"]
    with safe_open(str(folder / WEIGHTS), framework="numpy") as file:
        description = json.loads((file.metadata() or {})["edgevit"])
        parameters = sum(file.get_tensor(key).size for key in file.keys())  # noqa: SIM118
    return {
        "in_package": name in IN_PACKAGE,
        "parameters": parameters,
        "input_size": description["input_size"],
        "dataset": DATASETS[report["source"]],
        "top1": round(report["top1"], 2),
        "files": {part: _describe_file(folder / part) for part in FILES},
    }


def _describe_file(path: Path) -> dict[str, Any]:
    return {"size_bytes": path.stat().st_size, "sha256": digest_path(path)}


if __name__ == "__main__":
    write_whole(ARTIFACTS.parent / "edgevit" / "models" / REGISTRY, render_registry().encode())

"""Names what a result comes from: the digest of the weights, the commit and the machine.

Scripts take ``--json`` with :func:`result_path` and write by :func:`write_result`;
tests/golden/test_results.py holds every committed result to :func:`check_result`. Importing this
module first sets what the command line sets for TensorFlow, so files have the same bytes.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from edgevit.base.documents import to_json
from edgevit.bench.environment import describe_environment
from edgevit.models.shipped import ARTIFACTS, folder_name
from edgevit.models.weights import WEIGHTS_FILE, digest_weights

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
KEY = "provenance"
SEEDED = " (seeded)"  # behind the name of a network whose weights a seed makes
OWN = (".keras", SEEDED)  # ends of the names of weights that do not ship
MACHINE = ("cpu", "cores", "instruction_sets", "machine", "system", "versions")


def result_path(text: str) -> Path:
    """The argument of ``--json``; refused while the code that runs is in no commit.

    Raises:
        argparse.ArgumentTypeError: files of the package or of benchmarks/ differ from the commit.
    """
    changed = _git("status", "--porcelain", "--", "edgevit", "benchmarks/*.py", "artifacts")
    if changed:
        raise argparse.ArgumentTypeError(
            "a result names the commit that it was measured at, and these files are in none:\n"
            f"{changed}\nCommit them first, or leave --json out."
        )
    read_commit()
    return Path(text)


@functools.cache
def read_commit() -> str:
    """The commit that is checked out when a script starts, as 40 hexadecimal digits."""
    return _git("rev-parse", "HEAD")


@functools.cache
def digest_shipped(model: str) -> str:
    """The digest of the weights that ship in artifacts/, as exports name it.

    Args:
        model: such as "shiftvit:nano".
    """
    from safetensors import safe_open

    path = ARTIFACTS / folder_name(model) / WEIGHTS_FILE
    with safe_open(str(path), framework="numpy") as file:
        return digest_weights([file.get_tensor(key) for key in sorted(file.keys())])


def provenance(models: Sequence[str], own: Mapping[str, str] = {}) -> dict[str, Any]:
    """What a result must say of itself.

    Args:
        models: whose shipped weights were measured, such as "shiftvit:nano".
        own: digests of weights that do not ship, by the name of their .keras file, or by that of
            a network and SEEDED.

    Returns:
        "weights_sha256" by model, "commit" and "machine".
    """
    return {
        "weights_sha256": {model: digest_shipped(model) for model in models} | dict(own),
        "commit": read_commit(),
        "machine": json.loads(to_json(describe_environment())),
    }


def write_result(
    path: Path, body: Mapping[str, Any], models: Sequence[str], own: Mapping[str, str] = {}
) -> None:
    """Writes a result with its provenance in front; see :func:`provenance`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json({KEY: provenance(models, own), **body}, indent=1) + "\n")


def read_rows(path: Path | None) -> list[dict[str, Any]]:
    """The rows of an earlier run with the same code and weights on this machine; else none.

    Args:
        path: of the result that is being written; None: nowhere.
    """
    document = json.loads(path.read_text()) if path and path.exists() else {}
    found: Any = document.get(KEY)
    if not found:
        return []
    own = {name: sha for name, sha in found["weights_sha256"].items() if name.endswith(OWN)}
    if found != provenance([name for name in found["weights_sha256"] if name not in own], own):
        return []
    rows: list[dict[str, Any]] = document["rows"]
    return rows


def check_result(document: Mapping[str, Any]) -> None:
    """Refuses a result that does not say what it comes from, or whose weights no longer ship.

    Raises:
        ValueError: what is wrong, and what to do.
    """
    found = document.get(KEY)
    if not isinstance(found, Mapping):
        raise ValueError(f"there is no {KEY!r}; write results by benchmarks/provenance.py")
    if not re.fullmatch("[0-9a-f]{40}", str(found.get("commit"))):
        raise ValueError(f"no commit of 40 digits. Received: {found.get('commit')!r}")
    machine = found.get("machine")
    missing = [key for key in MACHINE if not isinstance(machine, Mapping) or key not in machine]
    if missing or not machine["cpu"] or not machine["versions"]:
        raise ValueError(f"the machine is not named in full; missing: {', '.join(missing)}")
    weights = found.get("weights_sha256")
    if not isinstance(weights, Mapping) or not weights:
        raise ValueError("no digest of any weights")
    for model, digest in weights.items():
        if model.endswith(OWN):
            continue  # weights that never shipped: the digest says which they were
        if digest != digest_shipped(model):
            raise ValueError(
                f"the weights of {model} are {str(digest)[:12]}, and {digest_shipped(model)[:12]} "
                "ship now. Measure again, or delete the result"
            )


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

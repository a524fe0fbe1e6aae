"""Are exported files the same bytes, whatever process, folder, hash seed and number of threads?

Two small networks go to every target, each time in a process of its own and another folder.

    python benchmarks/identical_exports.py --json benchmarks/results/identical.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from provenance import ROOT, result_path, write_result

from edgevit.base.files import digest_path
from edgevit.core.golden_images import draw_images
from edgevit.formats.registry import TARGETS
from edgevit.models import shiftvit
from edgevit.models.build import build
from edgevit.sweeps.process import THREADS

CONDITIONS = {
    "first": ("0", "1"),  # PYTHONHASHSEED, OMP_NUM_THREADS and TensorFlow's threads
    "another process and folder": ("0", "1"),
    "another hash seed": ("4711", "1"),
    "two threads": ("0", "2"),
}
SIDE = 24  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=result_path, help="where to write the counts")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        samples = Path(place) / "samples.npz"
        images = draw_images(64, (SIDE, SIDE), seed=5)
        np.savez(samples, x_train=images, y_train=np.arange(64) % 10)
        for network, make in (("shiftvit", make_shiftvit), ("convolutions", make_convolutions)):
            model = Path(place) / f"{network}.keras"
            make().save(model)
            digests = {
                name: export(
                    [str(model), "--calibration", str(samples)],
                    Path(place) / f"{network}-{number}",
                    *condition,
                )
                for number, (name, condition) in enumerate(CONDITIONS.items())
            }
            first = digests.pop("first")
            for name, found in digests.items():
                same = sum(found.get(file) == digest for file, digest in first.items())
                rows.append({"network": network, "against": name, "same": same, "of": len(first)})
                print(json.dumps(rows[-1]), flush=True)
    if options.json:
        write_result(options.json, {"rows": rows}, ["shiftvit:nano"])


def make_shiftvit() -> Any:
    """ShiftViT in its smallest size."""
    import keras

    keras.utils.set_random_seed(0)
    return build("shiftvit", input_size=(SIDE, SIDE), **shiftvit.TINY)


def make_convolutions() -> Any:
    """A plain and a depthwise convolution."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3), name="images"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )


def export(given: list[str], out: Path, hash_seed: str, threads: str) -> dict[str, str]:
    """sha256 of each file and manifest of all targets, by name.

    Args:
        given: what is exported, and its samples.
        out: folder of the files.
        hash_seed: of Python.
        threads: of the kernels.
    """
    command = [sys.executable, "-m", "edgevit", "export", *given, "--format", ",".join(TARGETS)]
    run([*command, "--keep-failed", "--no-cache", "--out", str(out)], hash_seed, threads)
    return {path.name: digest_path(path) for path in sorted(out.iterdir())}


def run(command: list[str], hash_seed: str, threads: str) -> None:
    """Runs a process; one that refuses some target is no failure here."""
    variables = {"PYTHONHASHSEED": hash_seed, **dict.fromkeys(THREADS, threads)}
    found = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
    )
    if found.returncode not in (0, 1):
        sys.exit(found.stderr[-2000:])


if __name__ == "__main__":
    main()

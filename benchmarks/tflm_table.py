"""Which integer-only files run in TensorFlow Lite Micro, how exactly, and in how much memory.

Every network that ships, as `tflite-int8` and as `tflite-int8-micro`: which operators have no
kernel there; whether it runs; whether its outputs equal those of LiteRT's reference kernels bit for
bit, on synthetic images; bytes of the arena and of the file.

    python benchmarks/tflm_table.py --json benchmarks/results/tflm.json
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

import numpy as np
from provenance import result_path, write_result

from edgevit.base.errors import RuntimeFailure
from edgevit.core.golden_images import draw_images
from edgevit.formats.registry import import_runtime, load_session
from edgevit.formats.tflite.runtime.tflm import missing_ops
from edgevit.models.shipped import list_shipped
from edgevit.verbs.export import export


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(list_shipped()), help="commas between")
    parser.add_argument("--images", type=int, default=4, help="compared bit for bit")
    parser.add_argument("--json", type=result_path, help="where to write the table")
    options = parser.parse_args()
    import_runtime("tflm")
    models, rows = options.models.split(","), []
    for model in models:
        for micro in (False, True):
            rows.append({"model": model, "micro": micro, **measure(model, micro, options.images)})
            print(rows[-1], flush=True)
    if options.json:
        write_result(options.json, {"images": options.images, "rows": rows}, models)


def measure(model: str, micro: bool, count: int) -> dict[str, Any]:
    """What TensorFlow Lite Micro makes of one file.

    Args:
        model: such as "shiftvit:nano".
        micro: whether the file is written for TensorFlow Lite Micro.
        count: synthetic images that are compared.
    """
    with tempfile.TemporaryDirectory() as folder:
        outcome = export(model, f"tflite-int8{'-micro' * micro}", folder, keep_failed=True)
        assert outcome.artifact is not None
        path = outcome.artifact.path
        row: dict[str, Any] = {"size_bytes": path.stat().st_size, "missing": missing_ops(path)}
        if row["missing"]:
            return row
        try:
            with load_session(path, "micro") as session:
                images = draw_images(count, session.inputs[0].shape[1:3], seed=5)
                found, row["arena_bytes"] = session.run(images), session.arena_bytes
        except RuntimeFailure as error:
            return {**row, "failure": str(error).replace(str(path), path.name)}
        with load_session(path, "reference") as session:
            wanted = session.run(images)
    return {**row, "identical": all(np.array_equal(found[key], wanted[key]) for key in wanted)}


if __name__ == "__main__":
    main()

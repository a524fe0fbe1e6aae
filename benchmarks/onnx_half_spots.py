"""Where float16 arithmetic hurts an ONNX graph: what each spot that is kept in float32 is worth.

    python benchmarks/onnx_half_spots.py shiftvit --images 4

The float graph is rewritten with some of the spots in float16 and evaluated by onnx's own reference
implementation, which really computes in float16 (onnxruntime on x86 casts to float32 and back). Not
a measurement of time: the figures are errors of the logits, the same on every machine.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np
import onnx_ir as ir

from edgevit.core.golden_images import draw_images
from edgevit.formats.onnx.writer.float_graph import float_model
from edgevit.formats.onnx.writer.names import make_names_canonical
from edgevit.formats.onnx.writer.quantize import half as onnx_half
from edgevit.frontend.opening import open_source
from edgevit.frontend.record_reference import float_logits
from edgevit.frontend.source import ExportOptions

# What joins the operators that are computed in float16, what leaves them, and whether a written-out
# normalisation is among them.
SPOTS: dict[str, tuple[set[str], set[str], bool]] = {
    "as exported": (set(), set(), False),
    "softmax in float32": (set(), {"Softmax"}, False),
    "LayerNormalization in float32": (set(), {"LayerNormalization"}, False),
    "means in float16": ({"ReduceMean", "GlobalAveragePool"}, set(), False),
    "written-out norms in float16": (
        {"ReduceMean", "GlobalAveragePool", "Sqrt", "Pow", "Reciprocal"},
        set(),
        True,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="as for edgevit export")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    source = open_source(options.model)
    images = draw_images(options.images, source.preprocess.input_size)
    expected = float_logits(source, images)
    rows = {}
    usual, normalising = onnx_half.HALF, onnx_half.NORMALISING
    for name, (more, less, written_out) in SPOTS.items():
        onnx_half.HALF = (usual | more) - less
        onnx_half.NORMALISING = set() if written_out else normalising
        model, _ = float_model(source, ExportOptions())
        make_names_canonical(model)
        onnx_half.to_half(model)
        difference = np.abs(evaluate(ir.to_proto(model), images) - expected)
        rows[name] = {"max_abs": float(difference.max()), "mean_abs": float(difference.mean())}
        print(f"{name:30} max {difference.max():.5f}  mean {difference.mean():.5f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def evaluate(model, images: np.ndarray) -> np.ndarray:
    """Logits of the reference implementation, one image at a time."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    name = model.graph.input[0].name
    return np.concatenate([evaluator.run(["logits"], {name: image[None]})[0] for image in images])


if __name__ == "__main__":
    main()

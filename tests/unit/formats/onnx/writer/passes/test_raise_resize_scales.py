"""Resize by a ratio of sizes: the size it stands for comes out."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from edgevit.formats.onnx.writer.passes.raise_resize_scales import raise_resize_scales

TEXT = """net (float[1,1,r,c] x) => (float[1,1,h,w] y) {
    y = Resize<mode="linear">(x, roi, scales) }"""


def resized(rows: int, target: int) -> tuple[int, ...]:
    """Shape in onnxruntime of ROWS x 4 pixels, resized to TARGET x 8 by rounded scales."""
    scales = np.array([1, 1, np.float32(target / rows), 2], np.float32)
    proto = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 18]>\n{TEXT}')
    for name, array in (("roi", np.zeros(0, np.float32)), ("scales", scales)):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model = ir.from_proto(proto)
    raise_resize_scales.run(model)
    assert raise_resize_scales.run(model).count == 0  # once is enough
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(None, {"x": np.zeros((1, 1, rows, 4), np.float32)})
    return y.shape


@pytest.mark.parametrize(
    ("rows", "target"),
    [
        (12, 224),
        (32, 48),
        (100, 224),
        (180, 224),
        (333, 224),
        (500, 72),
        (7, 5),
        (8191, 8190),
        (8190, 8191),
    ],
)
def test_the_size_that_was_asked_for_comes_out(rows, target):
    assert resized(rows, target) == (1, 1, target, 8)


def test_every_common_side_becomes_224():
    assert {resized(rows, 224)[2] for rows in range(5, 1300, 37)} == {224}


def test_a_scale_that_is_a_ratio_to_the_bit_stays(decline):
    text = TEXT.replace("r,c", "32,12").replace("h,w", "48,3")
    constants = {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 1.5, 0.25], np.float32)}
    decline(raise_resize_scales, text, constants, None)


def test_sizes_stay(decline):
    text = TEXT.replace("r,c", "10,10").replace("h,w", "31,10").replace("scales)", "none, sizes)")
    constants = {
        "roi": np.zeros(0, np.float32),
        "none": np.zeros(0, np.float32),
        "sizes": np.array([1, 1, 31, 10], np.int64),
    }
    decline(raise_resize_scales, text, constants, None)


def test_a_network_takes_raw_images_of_any_size():
    """25 pixels become 16 by a scale that float32 rounds down."""
    from edgevit.core.golden_images import draw_images
    from edgevit.formats.onnx.options import OnnxOptions
    from edgevit.formats.onnx.writer.content import serialise, to_proto
    from edgevit.formats.onnx.writer.float_graph import copy_float_model
    from edgevit.formats.onnx.writer.names import make_names_canonical
    from edgevit.models.build import build_plan, plan_model
    from edgevit.models.shiftvit import TINY
    from helpers.sources import source_of

    plan = plan_model("shiftvit", input_size=(25, 25), **TINY)
    network = build_plan(plan)
    model, _ = copy_float_model(source_of(network, plan.preprocess), OnnxOptions())
    make_names_canonical(model)
    images = draw_images(1, (25, 25), seed=1)
    session = onnxruntime.InferenceSession(
        b"".join(serialise(to_proto(model))), providers=["CPUExecutionProvider"]
    )
    (logits,) = session.run(["logits"], {session.get_inputs()[0].name: images})
    expected = network.predict(plan.preprocess.apply(images), verbose=0)["logits"]
    np.testing.assert_allclose(logits, expected, atol=1e-5)

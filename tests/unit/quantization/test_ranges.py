"""Activation ranges: measured without regard to order, kept as a document, refused when wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from edgevit.base.errors import ConfigError, ExportError, ModelFileError  # noqa: E402
from edgevit.core.format import Format  # noqa: E402
from edgevit.core.tensors import Preprocess  # noqa: E402
from edgevit.formats.calibration import describe_graph, find_ranges  # noqa: E402
from edgevit.formats.tflite.options import TfliteOptions  # noqa: E402
from edgevit.formats.tflite.runtime.file import (  # noqa: E402
    is_constant,
    op_names,
    parse_model,
    tensor_name,
)
from edgevit.formats.tflite.writer.observe import activation_names, measure_ranges  # noqa: E402
from edgevit.formats.tflite.writer.passes.table import DEFAULT_STEPS  # noqa: E402
from edgevit.formats.tflite.writer.quantize.integer import annotate_ranges  # noqa: E402
from edgevit.frontend.source import Source  # noqa: E402
from edgevit.quantization.histogram import Histogram  # noqa: E402
from edgevit.quantization.ranges import RangeRecord  # noqa: E402

SHAPE = (1, 6, 6, 3)
KERNEL = np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32)


def network(images):
    x = tf.nn.conv2d(images, KERNEL, 1, "SAME")
    return {"logits": tf.reduce_mean(tf.nn.relu(x) - 0.25, axis=(1, 2))}


@pytest.fixture(scope="module")
def graph(convert_tflite) -> bytes:
    return convert_tflite(network, SHAPE)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, 6, 6, 3)).astype(np.float32)


RECORD = RangeRecord(
    ranges={"b": (-1.5, 2.0), "a": (0.0, 255.0)},
    images=3,
    source="photos, pictures",
    images_sha256="11",
    weights_sha256="22",
    graph=f"net 6x6, raw images, {' '.join(DEFAULT_STEPS)}",
)
NETWORK = SimpleNamespace(output={"logits": None})
SOURCE = Source("net", NETWORK, Preprocess((4, 4), (6, 6)), (), "22", {Format.TFLITE: RECORD})


def test_every_activation_gets_the_range_that_was_seen(graph, images):
    ranges = measure_ranges(graph, images)
    names = [name for _, name in activation_names(graph)]
    assert sorted(ranges) == sorted(names)
    entry = next(name for name in names if "images" in name)
    assert ranges[entry] == (float(images.min()), float(images.max()))
    expected = np.stack([network(image[None])["logits"][0].numpy() for image in images])
    wanted = pytest.approx((expected.min(), expected.max()), abs=1e-5)
    assert any(pair == wanted for pair in ranges.values())


def test_the_order_of_the_images_does_not_matter(graph, images):
    assert measure_ranges(graph, images) == measure_ranges(graph, images[::-1])


def test_more_images_never_narrow_a_range(graph, images):
    few, all_of_them = measure_ranges(graph, images[:2]), measure_ranges(graph, images)
    for name, (low, high) in few.items():
        assert all_of_them[name][0] <= low <= high <= all_of_them[name][1]
    assert few != all_of_them


def test_progress_counts_the_images(graph, images):
    calls = []
    measure_ranges(graph, images, lambda done, total: calls.append((done, total)))
    assert calls == [(number + 1, 6) for number in range(6)]


def test_no_image_is_refused(graph):
    with pytest.raises(ConfigError, match="at least one image"):
        measure_ranges(graph, np.zeros((0, 6, 6, 3), np.float32))


@pytest.mark.parametrize("place", [0, 3, 5])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_activation_that_is_not_finite_is_refused_wherever_it_comes(graph, images, value, place):
    broken = images.copy()
    broken[place, 2, 2, 1] = value
    with pytest.raises(ExportError, match="is not finite on the calibration images"):
        measure_ranges(graph, broken)


def test_ranges_are_written_into_the_graph_and_always_hold_zero(graph, images):
    ranges = {name: (0.5, 2.0) for name in measure_ranges(graph, images)}
    model = parse_model(annotate_ranges(graph, ranges), "annotated")
    (subgraph,) = model.subgraphs
    found = {
        tensor_name(tensor): (float(tensor.quantization.min[0]), float(tensor.quantization.max[0]))
        for tensor in subgraph.tensors
        if not is_constant(model, tensor)
    }
    assert found == dict.fromkeys(ranges, (0.0, 2.0))


def test_ranges_of_another_graph_are_refused_with_a_tensor_named(graph, images):
    ranges = measure_ranges(graph, images)
    missing = next(iter(ranges))
    others = {f"other/{name}" if name == missing else name: v for name, v in ranges.items()}
    with pytest.raises(ExportError, match="belongs to another graph") as caught:
        annotate_ranges(graph, others)
    assert repr(missing) in str(caught.value)


def test_a_reshape_that_the_record_does_not_know_takes_the_range_of_its_other_side(convert_tflite):
    def reshaping(images):
        x = tf.reshape(tf.nn.relu(images), (1, 36, 3))
        return {"logits": tf.reshape(tf.nn.relu(x - 1.0), (1, 108))}

    graph = convert_tflite(reshaping, SHAPE)
    model = parse_model(graph, "net")
    reshapes = [
        [tensor_name(model.subgraphs[0].tensors[index[0]]) for index in (op.inputs, op.outputs)]
        for op, name in zip(model.subgraphs[0].operators, op_names(model)[0], strict=True)
        if name == "RESHAPE"
    ]
    whole = {name: (0.0, 1.0 + k) for k, (_, name) in enumerate(activation_names(graph))}
    for before, after in reshapes:
        whole[after] = whole[before]
    for lost in reshapes[0]:  # either side
        partial = {name: pair for name, pair in whole.items() if name != lost}
        assert annotate_ranges(graph, partial) == annotate_ranges(graph, whole)


def test_a_record_survives_the_round_trip_and_its_text_is_always_the_same():
    text = RECORD.to_text()
    assert RangeRecord.from_text(text, "x") == RECORD
    other_order = replace(RECORD, ranges=dict(reversed(RECORD.ranges.items())))
    assert other_order.to_text() == text
    assert other_order.digest == RECORD.digest
    assert RECORD.identity()["record_sha256"] == RECORD.digest
    assert RECORD.identity()["images"] == 3


def test_histograms_and_what_was_seen_survive_the_round_trip():
    counts = Histogram.of_values(np.array([-1.5, 2.0] + [0.5] * 100_000))
    whole = replace(RECORD, histograms={"b": counts})
    clipped = whole.clipped("percentile")
    for record in (whole, clipped):
        found = RangeRecord.from_text(record.to_text(), "x")
        assert found == record
        assert found.digest == record.digest
    assert clipped.digest != whole.digest
    assert clipped.seen == {"b": (-1.5, 2.0)}
    assert clipped.ranges["b"] == pytest.approx((0.5, 0.5), abs=0.01)
    assert clipped.ranges["a"] == (0.0, 255.0)  # without a histogram nothing is cut


def test_a_record_without_histograms_cannot_be_clipped():
    with pytest.raises(ConfigError, match=r"no histograms.*edgevit calibrate"):
        RECORD.clipped("mse")


@pytest.mark.parametrize(
    "damage",
    [
        {"method": "magic"},
        {"seen": {"nobody": [0, 1]}},
        {"histograms": {"a": {"exponent": 0}}},
        {"histograms": []},
    ],
    ids=str,
)
def test_a_record_with_damaged_extras_is_refused(damage):
    document = {**json.loads(RECORD.to_text()), **damage}
    with pytest.raises(ModelFileError, match="record is damaged"):
        RangeRecord.from_text(json.dumps(document), "ranges.json")


def test_the_digest_of_a_record_covers_every_range():
    changed = replace(RECORD, ranges={**RECORD.ranges, "a": (0.0, 254.0)})
    assert changed.digest != RECORD.digest


@pytest.mark.parametrize(
    "pair",
    [[None, 1.0], [float("nan"), 1.0], [0.0, float("inf")], [2.0, 1.0], [1.0], "ab", 3],
    ids=str,
)
def test_a_range_that_is_no_pair_of_finite_numbers_in_order_is_refused(pair):
    document = json.loads(RECORD.to_text())
    document["ranges"]["a"] = pair
    with pytest.raises(ModelFileError, match=r"^ranges\.json: "):
        RangeRecord.from_text(json.dumps(document), "ranges.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"ranges": []}', '{"ranges": {}}'])
def test_a_damaged_record_is_refused(text):
    with pytest.raises(ModelFileError, match=r"ranges\.json: the calibration record is damaged"):
        RangeRecord.from_text(text, "ranges.json")


@pytest.mark.parametrize("key", ["ranges", "images", "source", "weights_sha256", "graph"])
def test_a_record_with_a_missing_key_is_refused(key):
    document = json.loads(RECORD.to_text())
    del document[key]
    with pytest.raises(ModelFileError, match=key):
        RangeRecord.from_text(json.dumps(document), "ranges.json")


def test_shipped_ranges_are_taken_when_weights_and_graph_are_theirs():
    assert find_ranges(SOURCE, Format.TFLITE, TfliteOptions(), None, None, print) is RECORD


def test_without_shipped_ranges_the_calibration_option_is_named():
    with pytest.raises(ConfigError, match=r"no activation ranges ship.*--calibration PATH"):
        find_ranges(replace(SOURCE, ranges={}), Format.TFLITE, TfliteOptions(), None, None, print)


def test_shipped_ranges_of_other_weights_are_refused():
    with pytest.raises(ConfigError, match=r"belong to other weights.*--calibration PATH"):
        find_ranges(
            replace(SOURCE, weights_sha256="33"), Format.TFLITE, TfliteOptions(), None, None, print
        )


@pytest.mark.parametrize(
    ("source", "options"),
    [
        (replace(SOURCE, preprocess=Preprocess((4, 4), (8, 8))), TfliteOptions()),
        (replace(SOURCE, name="other"), TfliteOptions()),
        (SOURCE, TfliteOptions(preprocess=False)),
        (SOURCE, TfliteOptions(surgery=("centre-norms",))),
        (
            replace(SOURCE, network=SimpleNamespace(output={"logits": None, "attention": None})),
            TfliteOptions(),
        ),
    ],
    ids=["size", "name", "bare", "surgery", "outputs"],
)
def test_shipped_ranges_of_another_graph_are_refused_with_both_named(source, options):
    with pytest.raises(ConfigError, match="measure them anew") as caught:
        find_ranges(source, Format.TFLITE, options, None, None, print)
    assert RECORD.graph in str(caught.value)
    assert describe_graph(source, Format.TFLITE, options) in str(caught.value)

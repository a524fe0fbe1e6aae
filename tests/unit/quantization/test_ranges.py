"""Activation ranges: kept as a document, refused when wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from edgevit.base.errors import ConfigError, ModelFileError  # noqa: E402
from edgevit.core.format import Format  # noqa: E402
from edgevit.core.tensors import Preprocess  # noqa: E402
from edgevit.formats.calibration import describe_graph, find_ranges  # noqa: E402
from edgevit.formats.tflite.options import TfliteOptions  # noqa: E402
from edgevit.frontend.source import Source  # noqa: E402
from edgevit.quantization.histogram import Histogram  # noqa: E402
from edgevit.quantization.observer import ChannelRanges, Observer  # noqa: E402
from edgevit.quantization.ranges import RangeRecord  # noqa: E402
from helpers.sources import signature_of, source_of  # noqa: E402

RECORD = RangeRecord(
    ranges={"b": (-1.5, 2.0), "a": (0.0, 255.0)},
    images=3,
    source="photos, pictures",
    images_sha256="11",
    weights_sha256="22",
    # As shipped records have it: passes that begin with a record are not named in one.
    graph="net 6x6, raw images, centre-norms fold-affine attend-through-tokens",
)
CHANNELS = ChannelRanges(*np.arange(8, dtype=np.float32).reshape(4, 2))
PACKED = CHANNELS.to_text()
CONTRACT = Preprocess((4, 4), (6, 6))
GREY = replace(CONTRACT, scale=(1.0,), offset=(0.0,))
SOURCE = source_of(None, CONTRACT, "net", "22", ranges={Format.TFLITE: RECORD})


def with_signature(contract: Preprocess, *outputs: str) -> Source:
    """The source with other pixels or outputs."""
    return replace(SOURCE, signature=signature_of(contract, dict.fromkeys(outputs, (None, 2))))


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


def test_counts_are_packed_once_and_not_at_all_where_they_were_read(monkeypatch):
    packed = []
    monkeypatch.setattr(
        "edgevit.quantization.histogram.pack_counts", lambda counts: packed.append(1) or "AA=="
    )
    record = replace(RECORD, histograms={"a": Histogram(0, 0, np.array([1, 2]))})
    assert record.to_text() == record.to_text()
    assert packed == [1]
    monkeypatch.undo()
    text = replace(RECORD, histograms={"a": Histogram(0, 0, np.array([1, 2]))}).to_text()
    monkeypatch.setattr("edgevit.quantization.histogram.pack_counts", None)
    assert RangeRecord.from_text(text, "here").to_text() == text


def test_ranges_of_channels_survive_the_round_trip():
    record = replace(RECORD, channels={"a": PACKED})
    found = RangeRecord.from_text(record.to_text(), "x")
    assert found == record
    assert found.digest != RECORD.digest
    for name in ("lows", "highs", "means", "squares"):
        read = getattr(ChannelRanges.from_text(found.channels["a"]), name)
        np.testing.assert_array_equal(read, getattr(CHANNELS, name))


def test_channels_are_watched_one_by_one_in_any_order():
    values = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    found = []
    for order in (range(5), (3, 1, 4, 0, 2)):
        observer = Observer()
        observer.divided = frozenset("a")
        for number in order:
            observer.see("a", values[number])
            observer.see("b", values[number])
        seen = observer.observations()
        assert seen["b"].channels is None
        found.append(seen["a"].channels)
    assert found[0].to_text() == found[1].to_text()
    rows = values.reshape(-1, 4)
    np.testing.assert_array_equal(found[0].lows, rows.min(axis=0))
    np.testing.assert_array_equal(found[0].highs, rows.max(axis=0))
    np.testing.assert_allclose(found[0].means, rows.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[0].squares, np.square(rows).mean(axis=0), rtol=1e-5)


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
        {"channels": {"a": "nothing"}},
        {"channels": {"a": "eJwDAAAAAAE="}},
        {"channels": {"nobody": PACKED}},
    ],
    ids=str,
)
def test_a_record_with_damaged_extras_is_refused(damage):
    document = {**json.loads(RECORD.to_text()), **damage}
    with pytest.raises(ModelFileError, match=r"is damaged|the channels of"):
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
        (with_signature(Preprocess((4, 4), (8, 8)), "logits"), TfliteOptions()),
        (with_signature(GREY, "logits"), TfliteOptions()),
        (replace(SOURCE, name="other"), TfliteOptions()),
        (SOURCE, TfliteOptions(preprocess=False)),
        (SOURCE, TfliteOptions(surgery=("centre-norms",))),
        (with_signature(CONTRACT, "logits", "attention"), TfliteOptions()),
        (with_signature(CONTRACT, "scores"), TfliteOptions()),
    ],
    ids=["size", "channels", "name", "bare", "surgery", "outputs", "output"],
)
def test_shipped_ranges_of_another_graph_are_refused_with_both_named(source, options):
    with pytest.raises(ConfigError, match="measure them anew") as caught:
        find_ranges(source, Format.TFLITE, options, None, None, print)
    assert RECORD.graph in str(caught.value)
    assert describe_graph(source, Format.TFLITE, options) in str(caught.value)

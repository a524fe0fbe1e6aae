"""Layers of a file against the float model where exporters moved a norm's scale and offset."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")
pytest.importorskip("onnxruntime")

from edgevit.base.loading import load_attribute  # noqa: E402
from edgevit.core.layer_errors import SUSPECT_DB, rank_layers  # noqa: E402
from edgevit.formats.options import build_options  # noqa: E402
from edgevit.formats.registry import find_target, open_intermediate  # noqa: E402
from edgevit.formats.tflite.writer.graph import TfliteGraph  # noqa: E402
from edgevit.frontend.record_layers import record_layers  # noqa: E402
from edgevit.frontend.source import Source  # noqa: E402
from edgevit.verification import layer_diff, layer_errors, rewritten_layers  # noqa: E402
from edgevit.verification.align_layers import MOVES_BARE  # noqa: E402
from edgevit.verification.layer_diff import compare_layers  # noqa: E402
from helpers.sources import source_of  # noqa: E402

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="graphs are traced by TensorFlow"
)


@pytest.fixture(scope="module")
def source() -> Source:
    """A convolution, a norm with a scale near one, and a Dense layer that reads all of it."""
    keras.utils.set_random_seed(1)
    images = keras.Input((6, 6, 3), name="images")
    x = keras.layers.Conv2D(8, 2, strides=2, name="patches")(images)
    x = keras.layers.Reshape((9, 8), name="tokens")(x)
    x = keras.layers.LayerNormalization(name="norm")(x)
    x = keras.layers.Flatten(name="pool")(x)
    x = keras.layers.Dense(12, activation="gelu", name="head")(x)
    x = keras.layers.Dense(4, name="classifier")(x)
    network = keras.Model(images, {"logits": x}, name="net")
    rng = np.random.default_rng(0)
    norm = network.get_layer("norm")
    norm.set_weights([rng.uniform(0.9, 1.1, 8), rng.normal(0, 0.05, 8)])
    return source_of(network)


def compare(source: Source, path, name: str, **how):
    images = np.random.default_rng(3).integers(0, 256, (16, 6, 6, 3), dtype=np.uint8)
    network, precision = record_layers(source, images), find_target(name).precision
    with open_intermediate(path) as reader:
        return compare_layers(network, reader, precision, images, lambda line: None, **how)


@pytest.fixture(scope="module")
def files(source, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for name in ("tflite-float32", "onnx-float32"):
        target = find_target(name)
        path = found[name] = folder / f"net{target.suffix}"
        options = build_options(target.format, {})
        load_attribute(target.write)(source, options, None, path).finish({})
    return found


@pytest.mark.parametrize("name", ["tflite-float32", "onnx-float32"])
def test_a_folded_norm_is_compared_and_what_follows_is_no_suspect(source, files, name):
    rows, unaligned, _ = compare(source, files[name], name)
    by_name = {row.layer: row for row in rows}
    assert {"net/norm", "net/head", "net/classifier", "net/patches"} <= by_name.keys()
    assert max(row.excess_db for row in rows) < SUSPECT_DB
    assert max(row.relative for row in rows) < 1e-5
    reasons = {row.layer: row.reason for row in unaligned}
    if "net/pool" in reasons:
        assert reasons["net/pool"] == MOVES_BARE


def test_a_fault_behind_a_folded_norm_is_found_in_its_layer(source, files, tmp_path):
    opened = TfliteGraph(files["tflite-float32"].read_bytes())
    (head, _) = [op for op in opened.operators if opened.kind(op) == "FULLY_CONNECTED"]
    weights = opened.constant(int(head.inputs[1])).copy()
    weights[5] = 0
    opened.give_constant(head, 1, weights, "weights")
    path = tmp_path / "faulty.tflite"
    path.write_bytes(opened.to_bytes())
    rows, _, _ = compare(source, path, "tflite-float32")
    first, second = rank_layers(rows)[:2]
    assert (first.layer, first.channel) == ("net/head", 5)
    assert second.excess_db < SUSPECT_DB < first.excess_db


@pytest.mark.parametrize("name", ["tflite-float32", "onnx-float32"])
def test_large_tensors_are_compared_in_parts_with_the_same_figures(
    source, files, name, monkeypatch
):
    rows, _, _ = compare(source, files[name], name)
    runs = []
    with open_intermediate(files[name]) as reader:
        own = type(reader).run
        count = reader.batch
    monkeypatch.setattr(layer_diff, "RUN_BYTES", 1)
    monkeypatch.setattr(layer_diff, "AT_ONCE_BYTES", 1)
    monkeypatch.setattr(layer_errors, "BLOCK", 16)
    monkeypatch.setattr(
        type(reader), "run", lambda self, x: runs.append(len(x)) or own(self, x), raising=False
    )
    parts, _, _ = compare(source, files[name], name)
    assert runs == [count, layer_diff.MIN_AT_ONCE] + [count] * 16
    assert [row.layer for row in parts] == [row.layer for row in rows]
    for field in ("excess_db", "relative", "total_cosine"):
        found, expected = ([getattr(row, field) for row in own] for own in (parts, rows))
        np.testing.assert_allclose(found, expected, rtol=0.05, atol=1e-6)


def test_without_totals_the_rest_is_the_same(source, files):
    whole, part = (
        compare(source, files["tflite-float32"], "tflite-float32", totals=totals)[0]
        for totals in (True, False)
    )
    assert [row.excess_db for row in part] == [row.excess_db for row in whole]
    assert {row.total_sqnr_db for row in part} == {None} != {row.total_sqnr_db for row in whole}


def test_few_rows_stand_for_many_in_a_trial(monkeypatch):
    values = np.arange(4 * 50 * 3, dtype=np.float32).reshape(4, 50, 3)
    assert rewritten_layers.Trial.of(values, values).answer.shape == (200, 3)
    monkeypatch.setattr(rewritten_layers, "VALUES", 30)
    trial = rewritten_layers.Trial.of(values, 2 * values)
    assert trial.answer.shape == trial.found.shape == (10, 3)
    assert (trial.answer[0, 0], trial.answer[-1, -1]) == (0, 599)
    assert trial.relative == pytest.approx(1)

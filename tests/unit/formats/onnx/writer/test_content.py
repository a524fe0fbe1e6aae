"""An ONNX file is serialised once, and the same in every export."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from edgevit.formats.onnx.options import OnnxOptions
from edgevit.formats.onnx.writer import convert
from edgevit.frontend.source import Source
from edgevit.quantization.observer import Observer
from edgevit.quantization.ranges import RangeRecord
from helpers.sources import source_of

WRITERS = (
    *(convert.write_float32, convert.write_float32_cpu, convert.write_float16),
    *(convert.write_dynamic, convert.write_int8),
)
DOCUMENTS = {"edgevit.note": "{}", "edgevit.labels": "[]", "a": ""}
WEIGHTS = 4 * 192 * 64  # bytes of the first kernel


@pytest.fixture
def source() -> Source:
    images = keras.Input((8, 8, 3), name="images")
    x = keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(images))
    return source_of(keras.Model(images, {"logits": keras.layers.Dense(3)(x)}), name="net")


@pytest.fixture
def ranges(source) -> RangeRecord:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    seen = convert.observe_onnx(source, OnnxOptions(), {"images": images}, Observer())
    found = {name: (value.low, value.high) for name, value in seen.items()}
    return RangeRecord(found, len(images), "noise", "0" * 64, "0" * 64, "net 8x8")


def write(writer, source, ranges, path: Path, *documents, **options) -> bytes:
    written = writer(source, OnnxOptions(**options), ranges, path)
    for found in documents or (DOCUMENTS,):
        written.finish(found)
    return path.read_bytes()


@pytest.fixture
def serialised(monkeypatch) -> Iterator[list[int]]:
    """Sizes in bytes of the models that are serialised with their weights."""
    sizes: list[int] = []
    own = onnx.ModelProto.SerializeToString

    def count(self, **options):
        content = own(self, **options)
        if len(content) >= WEIGHTS / 4:
            sizes.append(len(content))
        return content

    monkeypatch.setattr(onnx.ModelProto, "SerializeToString", count)
    return sizes


def test_a_graph_is_never_serialised_with_its_weights(source, ranges, tmp_path, serialised):
    for writer in WRITERS:
        write(writer, source, ranges, tmp_path / "net.onnx")
        assert not serialised, writer.__name__


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
def test_the_bytes_are_those_of_one_message_with_the_documents(source, ranges, tmp_path, writer):
    content = write(writer, source, ranges, tmp_path / "net.onnx")
    model = onnx.load_from_string(content)
    assert {entry.key: entry.value for entry in model.metadata_props} == DOCUMENTS
    assert model.SerializeToString(deterministic=True) == content
    again = write(
        writer, source, ranges, tmp_path / "net.onnx", {"other": "longer" * 99}, DOCUMENTS
    )
    assert again == content


def test_one_target_leaves_no_trace_in_the_next(source, ranges, tmp_path):
    first = {w: write(w, source, ranges, tmp_path / "net.onnx") for w in WRITERS}
    assert {w: write(w, source, ranges, tmp_path / "net.onnx") for w in WRITERS[::-1]} == first


def test_a_second_conversion_with_a_free_batch_gives_the_same_bytes(source, ranges, tmp_path):
    first = write(convert.write_float32, source, None, tmp_path / "net.onnx", batch=None)
    source.lowered.clear()
    assert write(convert.write_float32, source, None, tmp_path / "net.onnx", batch=None) == first
    numbers = {int(number) for number in re.findall(rb"unk__(\d+)", first)}
    assert numbers  # tract knows a length that is not fixed by this name
    assert max(numbers) <= len(numbers)  # tf2onnx's own go on from one export to the next

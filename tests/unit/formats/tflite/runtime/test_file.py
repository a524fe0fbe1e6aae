"""A TFLite file as objects and back: same answers, aligned buffers, metadata replaced."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

from edgevit.base.errors import ModelFileError  # noqa: E402
from edgevit.formats.tflite.runtime.file import (  # noqa: E402
    ALIGNMENT,
    IDENTIFIER,
    add_metadata,
    custom_op_names,
    is_constant,
    op_names,
    pack_model,
    parse_model,
    read_metadata,
    tensor_name,
    tensor_type,
)


@pytest.fixture(scope="module")
def graph(convert_tflite) -> bytes:
    """A small network with weights of odd lengths, so that alignment is not a matter of luck."""
    rng = np.random.default_rng(0)
    kernel = tf.constant(rng.normal(size=(3, 3, 3, 7)), tf.float32)
    dense = tf.constant(rng.normal(size=(7, 5)), tf.float32)

    def forward(images):
        x = tf.nn.relu(tf.nn.conv2d(images, kernel, 1, "SAME"))  # B H W 7
        return {"logits": tf.matmul(tf.reduce_mean(x, axis=(1, 2)), dense)}  # B 5

    return convert_tflite(forward, (1, 9, 9, 3))


@pytest.fixture
def run(run_tflite):
    """A function (file) -> its answer to one image."""
    image = np.random.default_rng(1).normal(size=(1, 9, 9, 3)).astype(np.float32)
    return lambda data: run_tflite(data, image, "builtin")


def buffer_places(data: bytes) -> list[int]:
    """Offset in the file of every buffer that holds something."""
    model = schema.Model.GetRootAs(data, 0)
    places = []
    for number in range(model.BuffersLength()):
        buffer = model.Buffers(number)
        if buffer.DataLength():
            field = buffer._tab.Offset(4)
            places.append(buffer._tab.Vector(field))
    return places


def test_a_round_trip_keeps_every_answer_bit_for_bit(graph, run):
    packed = pack_model(parse_model(graph, "net"))
    assert packed[4:8] == IDENTIFIER
    assert run(packed).tobytes() == run(graph).tobytes()


def test_a_second_round_trip_gives_the_same_bytes_as_the_first(graph):
    once = pack_model(parse_model(graph, "net"))
    assert pack_model(parse_model(once, "net")) == once


def test_every_buffer_is_aligned_whatever_lies_before_it(graph):
    for text in ("", "a", "abcdefg", "x" * 1001):
        model = parse_model(graph, "net")
        add_metadata(model, {"note": text, "other": text + "!"})
        places = buffer_places(pack_model(model))
        assert len(places) >= 4
        assert [place % ALIGNMENT for place in places] == [0] * len(places)


def test_the_alignment_check_sees_a_buffer_that_is_not_aligned(graph):
    model = parse_model(graph, "net")
    add_metadata(model, {"note": "abc"})
    import flatbuffers

    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), IDENTIFIER)  # the schema's own Pack, without alignment
    assert any(place % ALIGNMENT for place in buffer_places(bytes(builder.Output())))


def test_metadata_comes_back_as_it_went_in(graph, tmp_path):
    model = parse_model(graph, "net")
    documents = {"edgevit.a": "text", "edgevit.b": '{"é": "✓"}'}
    add_metadata(model, documents)
    path = tmp_path / "net.tflite"
    path.write_bytes(pack_model(model))
    found = read_metadata(path)
    assert {key: found[key] for key in documents} == documents


def test_metadata_of_the_same_key_is_replaced_and_not_doubled(graph, run, tmp_path):
    data, sizes = graph, []
    for text in ("first", "other", "third"):
        model = parse_model(data, "net")
        add_metadata(model, {"edgevit.a": text})
        data = pack_model(model)
        sizes.append(len(data))
    assert len(set(sizes)) == 1
    assert b"first" not in data
    path = tmp_path / "net.tflite"
    path.write_bytes(data)
    names = [entry.name for entry in parse_model(data, "net").metadata]
    assert names.count(b"edgevit.a") == 1
    assert read_metadata(path)["edgevit.a"] == "third"
    assert run(data).tobytes() == run(graph).tobytes()


def test_metadata_of_the_converter_stays(graph, tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(graph)
    before = set(read_metadata(path))
    model = parse_model(graph, "net")
    add_metadata(model, {"edgevit.a": "text"})
    path.write_bytes(pack_model(model))
    assert set(read_metadata(path)) == before | {"edgevit.a"}


def test_binary_metadata_is_left_out_and_does_no_harm(graph, tmp_path):
    model = parse_model(graph, "net")
    add_metadata(model, {"text": "fine", "binary": "x"})
    model.buffers[model.metadata[-1].buffer].data = np.array([255, 254, 0], np.uint8)
    path = tmp_path / "net.tflite"
    path.write_bytes(pack_model(model))
    found = read_metadata(path)
    assert found["text"] == "fine"
    assert "binary" not in found


def test_operators_tensors_and_constants_are_told_apart(graph):
    model = parse_model(graph, "net")
    (names,) = op_names(model)
    assert names[0] == "CONV_2D"
    assert names[-1] == "FULLY_CONNECTED"
    assert custom_op_names(model) == []
    (subgraph,) = model.subgraphs
    entry = subgraph.tensors[subgraph.inputs[0]]
    assert tensor_type(entry) == "float32"
    assert not is_constant(model, entry)
    assert "images" in tensor_name(entry)
    weights = [t for t in subgraph.tensors if is_constant(model, t) and len(t.shape) == 4]
    assert [tuple(tensor.shape) for tensor in weights] == [(7, 3, 3, 3)]


@pytest.mark.parametrize(
    "data", [b"", b"TFL3", b"plain text, renamed", b"\0" * 64], ids=["empty", "short", "text", "0"]
)
def test_what_is_no_tflite_file_is_refused(data):
    with pytest.raises(ModelFileError, match=r"net\.tflite: no TFLite file"):
        parse_model(data, "net.tflite")


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9])
def test_a_truncated_file_is_refused(graph, share):
    with pytest.raises(ModelFileError, match=r"net\.tflite: the TFLite file is damaged"):
        parse_model(graph[: int(len(graph) * share)], "net.tflite")


def test_reading_the_metadata_of_random_bytes_is_an_error_and_no_crash(tmp_path):
    path = tmp_path / "net.tflite"
    rng = np.random.default_rng(0)
    for length in (0, 3, 8, 64, 5000):
        path.write_bytes(rng.integers(0, 256, length, np.uint8).tobytes())
        with pytest.raises(ModelFileError):
            read_metadata(path)

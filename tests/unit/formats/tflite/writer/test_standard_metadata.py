"""TFLite Metadata is what the public schema says, and travels sealed in the file."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from typing import Any

import flatbuffers
import numpy as np
import pytest
from flatbuffers import number_types as types

from edgevit.base.documents import to_json
from edgevit.core.manifest import Manifest
from edgevit.core.metadata import MANIFEST_KEY
from edgevit.core.seal import BLANK, SEAL_KEY, find_damage, seal
from edgevit.core.signature import Activation, InputSpec, OutputSpec, Role, Signature
from edgevit.core.tensors import Preprocess, TensorSpec
from edgevit.formats.tflite.runtime.file import pack_model, parse_model, read_schema
from edgevit.formats.tflite.writer import standard_metadata
from edgevit.formats.tflite.writer.graph import TfliteGraph
from edgevit.formats.tflite.writer.standard_metadata import (
    LABELS_FILE,
    append_labels,
    describe_model,
    write_for_clients,
)

CONTRACT = Preprocess((24, 20), (12, 10), scale=(1 / 127.5,) * 3, offset=(-1.0, -0.5, 0.0))
PICTURE = InputSpec("images", (1, 12, 10, 3), preparation=CONTRACT)
SCORES = OutputSpec("scores", (1, 2), "float32", Role.LOGITS)
MASK = OutputSpec("mask", (1, 12, 10, 2), "float32", Role.MASK)


def manifest_of(outputs=(SCORES,), inputs=(PICTURE,), **fields) -> Manifest:
    declared = [
        tuple(TensorSpec(spec.name, spec.shape, "float32") for spec in side)
        for side in (inputs, outputs)
    ]
    found = Manifest(
        "net",
        "tflite-float32",
        ("cat", "big\ndog"),
        CONTRACT,
        True,
        *declared,
        (),
        {},
        "ab" * 32,
        signature=Signature(inputs, outputs),
        author="Ada",
        license="MIT",
    )
    return replace(found, **fields)


class Reader:
    """Reads a flatbuffer by slots, without what wrote it: the numbers are those of the schema."""

    def __init__(self, content: bytes, place: int | None = None):
        first = flatbuffers.encode.Get(types.UOffsetTFlags.packer_type, content, 0)
        self.table = flatbuffers.table.Table(content, first if place is None else place)

    def _at(self, slot: int) -> int:
        return int(self.table.Offset(4 + 2 * slot))

    def text(self, slot: int) -> str:
        at = self._at(slot)
        return self.table.String(at + self.table.Pos).decode() if at else ""

    def child(self, slot: int) -> Reader:
        return Reader(self.table.Bytes, self.table.Indirect(self._at(slot) + self.table.Pos))

    def children(self, slot: int) -> list[Reader]:
        at = self._at(slot)
        if not at:
            return []
        start = self.table.Vector(at)
        places = (start + 4 * number for number in range(self.table.VectorLen(at)))
        return [Reader(self.table.Bytes, self.table.Indirect(place)) for place in places]

    def number(self, slot: int, kind: Any = types.Int8Flags) -> int:
        at = self._at(slot)
        return int(self.table.Get(kind, at + self.table.Pos)) if at else 0

    def floats(self, slot: int) -> np.ndarray:
        return self.table.GetVectorAsNumpy(types.Float32Flags, self._at(slot))

    def content(self, slot: int) -> bytes:
        return self.table.GetVectorAsNumpy(types.Uint8Flags, self._at(slot)).tobytes()


def read(manifest: Manifest) -> tuple[Reader, Reader]:
    """(the model's table, its graph's)."""
    content = describe_model(manifest)
    assert content[4:8] == b"M001"
    model = Reader(content)
    return model, model.children(3)[0]


def test_it_says_what_the_model_is():
    model, _ = read(manifest_of())
    assert [model.text(slot) for slot in (0, 2, 4, 5)] == ["net", "ab" * 6, "Ada", "MIT"]
    assert "classification" in model.text(1)


@pytest.mark.parametrize("inside", [True, False])
def test_clients_scale_pixels_as_the_contract_does(inside):
    """(x - mean) / std is the file's own float input."""
    (picture,) = read(manifest_of(preprocess_inside=inside))[1].children(2)
    unit = picture.children(4)[0]
    assert unit.number(0, types.Uint8Flags) == 1  # NormalizationOptions
    mean, std = (unit.child(1).floats(slot) for slot in (0, 1))
    pixels = np.array([[0, 10, 255], [255, 0, 3]], np.float32)
    own = pixels if inside else pixels * CONTRACT.scale + np.array(CONTRACT.offset)
    np.testing.assert_allclose((pixels - mean) / std, own, atol=1e-5)
    size = picture.child(3).child(1).child(1)
    sides = [size.number(slot, types.Uint32Flags) for slot in (1, 0)]
    assert sides == ([24, 20] if inside else [12, 10])


def test_every_tensor_is_described_in_the_order_of_the_file():
    extra = InputSpec("pose", (1, 3))
    _, graph = read(manifest_of((MASK, SCORES), (extra, PICTURE)))
    assert [tensor.text(0) for tensor in graph.children(2)] == ["pose", "images"]
    assert [tensor.text(0) for tensor in graph.children(3)] == ["mask", "scores"]


@pytest.mark.parametrize(
    ("activation", "columns", "applied"),
    [(Activation.LINEAR, 2, 2), (Activation.LINEAR, 1, 1), (Activation.SOFTMAX, 2, 0)],
)
def test_a_segmenter_says_what_is_still_to_be_applied_to_its_mask(activation, columns, applied):
    mask = replace(MASK, shape=(1, 12, 10, columns), activation=activation)
    _, graph = read(manifest_of((mask,)))
    (custom,) = graph.children(9)
    assert custom.text(0) == "SEGMENTER_METADATA"
    assert custom.content(1)[4:8] == b"V001"
    assert Reader(custom.content(1)).number(0) == applied


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        ((SCORES,), "cat\nbig dog\n"),
        ((MASK,), "cat\nbig dog\n"),
        ((replace(SCORES, shape=(1, 3)),), ""),  # not one for each column
        ((replace(SCORES, role=Role.EMBEDDING),), ""),
    ],
)
def test_labels_lie_stored_behind_the_file(outputs, names):
    manifest = manifest_of(outputs)
    content = append_labels(b"TFL3 and more", manifest)
    (described,) = read(manifest)[1].children(3)
    files = described.children(6)
    if not names:
        assert (content, files) == (b"TFL3 and more", [])
        return
    assert content.startswith(b"TFL3 and more")
    (file,) = files
    assert (file.text(0), file.number(2)) == (LABELS_FILE, 2)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (entry,) = archive.infolist()
        assert entry.compress_type == zipfile.ZIP_STORED
        assert archive.read(LABELS_FILE).decode() == names
    assert append_labels(b"TFL3 and more", manifest) == content


def small_graph() -> TfliteGraph:
    schema = read_schema()
    graph, empty = schema.SubGraphT(), schema.BufferT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [empty]
    model.operatorCodes = []
    return TfliteGraph(pack_model(model))


def test_the_seal_covers_labels_and_metadata(tmp_path):
    path = tmp_path / "net.tflite"
    documents = {MANIFEST_KEY: to_json(manifest_of().to_document()), SEAL_KEY: to_json(BLANK)}
    path.write_bytes(write_for_clients(small_graph(), path, documents))
    seal(path)
    assert find_damage(path) == ""
    content = path.read_bytes()
    names = [entry.name for entry in parse_model(content, "net").metadata]
    assert standard_metadata.METADATA_NAME.encode() in names
    for old, new in ((b"big dog", b"big cat"), (b"Ada", b"Eve")):
        path.write_bytes(content.replace(old, new))
        assert "bytes changed" in find_damage(path)
    path.write_bytes(content + b"more")
    assert "bytes changed" in find_damage(path)
    assert write_for_clients(small_graph(), path, {"note": "x"}).count(b"labels.txt") == 0

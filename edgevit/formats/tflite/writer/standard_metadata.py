"""TFLite Metadata: what MediaPipe Tasks and Android's tools read of a file.

The schema is the public ``metadata_schema.fbs`` 1.5.0 of tflite-support and MediaPipe (identifier
M001); of it stand here the tables that files of pictures use. Label files lie in a zip archive
behind the flatbuffer, stored and not compressed, since clients map them into memory.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevit.core.manifest import Manifest
from edgevit.core.metadata import EmbeddedMetadata
from edgevit.core.signature import Activation, InputSpec, OutputSpec, Role
from edgevit.core.tensors import Preprocess
from edgevit.formats.tflite.writer.graph import TfliteGraph

METADATA_NAME = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"
_IDENTIFIER = b"M001"
_PARSER = "1.5.0"  # of the schema: the first with custom metadata
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # an archive of the same names has the same bytes
_ALIGNMENT = 16
# Fields of each table, in the schema's order. A union is two fields: its type and its value.
_TABLES = {
    "ModelMetadata": (
        "name",
        "description",
        "version",
        "subgraph_metadata",
        "author",
        "license",
        "associated_files",
        "min_parser_version",
    ),
    "SubGraphMetadata": (
        "name",
        "description",
        "input_tensor_metadata",
        "output_tensor_metadata",
        "associated_files",
        "input_process_units",
        "output_process_units",
        "input_tensor_groups",
        "output_tensor_groups",
        "custom_metadata",
    ),
    "TensorMetadata": (
        "name",
        "description",
        "dimension_names",
        "content",
        "process_units",
        "stats",
        "associated_files",
    ),
    "Content": ("content_properties_type", "content_properties", "range"),
    "FeatureProperties": (),
    "ImageProperties": ("color_space", "default_size"),
    "ImageSize": ("width", "height"),
    "ProcessUnit": ("options_type", "options"),
    "NormalizationOptions": ("mean", "std"),
    "Stats": ("max", "min"),
    "AssociatedFile": ("name", "description", "type"),
    "CustomMetadata": ("name", "data"),
    "ImageSegmenterOptions": ("activation", "min_parser_version"),  # MediaPipe's own, V001
}
_FEATURE, _IMAGE = np.uint8(1), np.uint8(2)  # ContentProperties
_NORMALIZATION = np.uint8(1)  # ProcessUnitOptions
_COLOUR_SPACES = {3: np.int8(1), 1: np.int8(2)}  # ColorSpaceType by channels: RGB, GRAYSCALE
_AXIS_LABELS = np.int8(2)  # AssociatedFileType
_NONE, _SIGMOID, _SOFTMAX = np.int8(0), np.int8(1), np.int8(2)  # Activation, which clients apply
_SEGMENTER = "SEGMENTER_METADATA"
_SLOTS = {np.uint8: "Uint8", np.int8: "Int8", np.uint32: "Uint32"}
_ROLES = {
    Role.LOGITS: "Scores of classes before a softmax or sigmoid",
    Role.PROBABILITIES: "Probabilities of classes",
    Role.MASK: "Scores of classes for every pixel",
    Role.EMBEDDING: "An embedding, compared by direction",
    Role.VALUES: "Measured quantities",
    Role.LABELS: "Classes as integers",
    Role.MAP: "Values as the model returns them",
}


@dataclass(frozen=True)
class _Table:
    """A table of the schema: strings, tables, lists of them, arrays and numpy scalars by field."""

    kind: str
    fields: dict[str, Any]


def _table(kind: str, **fields: Any) -> _Table:
    return _Table(kind, fields)


def describe_model(manifest: Manifest) -> bytes:
    """The metadata flatbuffer of a file.

    Args:
        manifest: of the file; its inputs and outputs are in the file's own order.
    """
    signature = manifest.model_signature
    inputs = {spec.name: spec for spec in signature.inputs}
    outputs = {spec.name: spec for spec in signature.outputs}
    graph = _table(
        "SubGraphMetadata",
        name="main",
        input_tensor_metadata=[
            _describe_input(inputs[spec.name], manifest.preprocess_inside)
            for spec in manifest.inputs
        ],
        output_tensor_metadata=[
            _describe_output(outputs[spec.name], labels_of(manifest, outputs[spec.name]))
            for spec in manifest.outputs
        ],
        custom_metadata=[
            _describe_segmenter(spec) for spec in signature.outputs if spec.role is Role.MASK
        ][:1],
    )
    model = _table(
        "ModelMetadata",
        name=manifest.model,
        description=f"{manifest.model} for {manifest.task}, written as {manifest.target}",
        version=manifest.weights_sha256[:12],
        subgraph_metadata=[graph],
        author=manifest.author,
        license=manifest.license,
        min_parser_version=_PARSER,
    )
    return _pack(model, _IDENTIFIER)


def write_for_clients(graph: TfliteGraph, path: Path, documents: Mapping[str, str]) -> bytes:
    """The bytes of a file with its own documents, and where these say what it is, the standard's.

    Args:
        graph: of the file; its metadata is changed.
        path: how errors call it.
        documents: text by key, see :func:`edgevit.core.metadata.write_metadata`.
    """
    manifest = EmbeddedMetadata(path, dict(documents)).manifest
    if manifest is None:
        return graph.to_bytes(documents)
    standard = {METADATA_NAME: describe_model(manifest)}
    return append_labels(graph.to_bytes({**documents, **standard}), manifest)


def labels_of(manifest: Manifest, spec: OutputSpec) -> tuple[str, ...]:
    """Class names of an output; empty where they are unknown, or not one for each column."""
    names = manifest.class_names
    fits = spec.names_classes and len(names) == spec.shape[-1]
    return tuple(" ".join(name.split()) for name in names) if fits else ()


def append_labels(content: bytes, manifest: Manifest) -> bytes:
    """A file with its label file behind it; unchanged where no output has names of classes."""
    found = [labels_of(manifest, spec) for spec in manifest.model_signature.outputs]
    names = next((names for names in found if names), ())
    if not names:
        return content
    place = io.BytesIO(content)
    place.seek(0, io.SEEK_END)
    with zipfile.ZipFile(place, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_FILE, _LONG_AGO), "\n".join(names) + "\n")
    return place.getvalue()


def _describe_input(spec: InputSpec, inside: bool) -> _Table:
    contract = spec.preparation
    if contract is None or len(spec.shape) != 4:
        content = _table("Content", content_properties_type=_FEATURE, content_properties=_FEATURES)
        return _table("TensorMetadata", name=spec.name, description="As it is", content=content)
    rows, columns = contract.input_size if inside else contract.network_size
    size = _table("ImageSize", width=np.uint32(columns), height=np.uint32(rows))
    space = _COLOUR_SPACES.get(contract.channels, np.int8(0))
    image = _table("ImageProperties", color_space=space, default_size=size)
    pixels = "Raw pixels of 0..255" if inside else "Scaled pixels"
    return _table(
        "TensorMetadata",
        name=spec.name,
        description=f"{pixels}, rows by columns by channels",
        content=_table("Content", content_properties_type=_IMAGE, content_properties=image),
        process_units=[
            _table("ProcessUnit", options_type=_NORMALIZATION, options=_normalise(contract, inside))
        ],
        stats=_limits(*(_raw_limits() if inside else _scaled_limits(contract))),
    )


_FEATURES = _table("FeatureProperties")


def _normalise(contract: Preprocess, inside: bool) -> _Table:
    """(x - mean) / std of a pixel of 0..255, as clients compute it."""
    if inside:
        return _table("NormalizationOptions", mean=_floats([0.0]), std=_floats([1.0]))
    scale, offset = np.array(contract.scale), np.array(contract.offset)
    return _table("NormalizationOptions", mean=_floats(-offset / scale), std=_floats(1 / scale))


def _raw_limits() -> tuple[Any, Any]:
    return [0.0], [255.0]


def _scaled_limits(contract: Preprocess) -> tuple[Any, Any]:
    ends = np.outer([0.0, 255.0], contract.scale) + np.array(contract.offset)
    return ends.min(axis=0), ends.max(axis=0)


def _limits(low: Any, high: Any) -> _Table:
    return _table("Stats", max=_floats(high), min=_floats(low))


def _describe_output(spec: OutputSpec, labels: Sequence[str]) -> _Table:
    fields: dict[str, Any] = {}
    if labels:
        fields["associated_files"] = [
            _table("AssociatedFile", name=LABELS_FILE, description="Classes", type=_AXIS_LABELS)
        ]
    if spec.role is Role.PROBABILITIES or spec.activation is not Activation.LINEAR:
        fields["stats"] = _limits([0.0], [1.0])
    content = _table("Content", content_properties_type=_FEATURE, content_properties=_FEATURES)
    return _table(
        "TensorMetadata", name=spec.name, description=_ROLES[spec.role], content=content, **fields
    )


def _describe_segmenter(spec: OutputSpec) -> _Table:
    several = (spec.shape[-1] or 0) > 1
    activation = _SOFTMAX if several else _SIGMOID
    if spec.activation is not Activation.LINEAR:
        activation = _NONE
    options = _table("ImageSegmenterOptions", activation=activation, min_parser_version="1.0.0")
    return _table("CustomMetadata", name=_SEGMENTER, data=_pack(options, b"V001"))


def _floats(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


def _pack(table: _Table, identifier: bytes) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(_place(builder, table), identifier)
    return bytes(builder.Output())


def _place(builder: Any, value: Any) -> int:
    """Writes what is not inside its table, children first; where it lies."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, np.ndarray):
        return int(builder.CreateNumpyVector(value))
    if isinstance(value, bytes):
        return _place_bytes(builder, value)
    if isinstance(value, list):
        return _place_vector(builder, value)
    return _place_table(builder, value)


def _place_table(builder: Any, table: _Table) -> int:
    names = _TABLES[table.kind]
    given = {names.index(name): value for name, value in table.fields.items() if _says(value)}
    scalars = {slot: value for slot, value in given.items() if isinstance(value, np.integer)}
    places = {slot: _place(builder, given[slot]) for slot in given.keys() - scalars.keys()}
    builder.StartObject(len(names))
    for slot, place in places.items():
        builder.PrependUOffsetTRelativeSlot(slot, place, 0)
    for slot, value in scalars.items():
        getattr(builder, f"Prepend{_SLOTS[type(value)]}Slot")(slot, int(value), 0)
    return int(builder.EndObject())


def _says(value: Any) -> bool:
    """Whether a field is written at all: what is empty is left out."""
    return not isinstance(value, (str, list)) or bool(value)


def _place_vector(builder: Any, values: list[Any]) -> int:
    places = [_place(builder, value) for value in values]
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return int(builder.EndVector())


def _place_bytes(builder: Any, content: bytes) -> int:
    builder.StartVector(1, len(content), _ALIGNMENT)
    builder.head -= len(content)
    builder.Bytes[builder.head : builder.head + len(content)] = content
    return int(builder.EndVector())

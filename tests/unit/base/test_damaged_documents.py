"""Documents that are read back: a field that is lost or of another kind is named in one line."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from edgevit.base.documents import encode_array, to_json
from edgevit.base.errors import ModelFileError
from edgevit.core.benchmarks import BenchmarkResult
from edgevit.core.golden_images import GENERATOR, draw_images
from edgevit.core.golden_inputs import Draw, draw_inputs
from edgevit.core.manifest import ADDED, Manifest
from edgevit.core.measurements import BenchmarkCase, Environment, InstructionCount, Measurement
from edgevit.core.reference import ReferenceSet, Samples
from edgevit.core.report import FileReport
from edgevit.core.signature import InputSpec, OutputSpec, Role, Signature
from edgevit.core.tensors import Preprocess, TensorSpec
from edgevit.quantization.histogram import Histogram
from edgevit.quantization.ranges import RangeRecord
from edgevit.verbs.evidence import Evidence

Path = tuple[str | int, ...]
FILE = "net.json"


class Document(NamedTuple):
    """A whole document, what reads it, and the fields that it may lack."""

    content: dict[str, Any]
    read: Callable[[Any], Any]
    optional: frozenset[str] = frozenset()


def make_manifest() -> dict[str, Any]:
    return Manifest(
        model="net",
        target="tflite-int8",
        class_names=("cat", "dog"),
        preprocess=Preprocess((4, 4), (4, 4), (5, 5)),
        preprocess_inside=True,
        inputs=(TensorSpec("images", (None, 4, 4, 3), "uint8"),),
        outputs=(TensorSpec("logits", (None, 2), "int8"),),
        steps=("one",),
        versions={"python": "3.11"},
        weights_sha256="aa",
        calibration={"images": 3},
        reference_sha256="bb",
        signature=Signature(
            (InputSpec("images", (None, 4, 4, 3), "float32", Preprocess((4, 4), (4, 4), (5, 5))),),
            (OutputSpec("logits", (None, 2), "float32", Role.LOGITS),),
        ),
    ).to_document()


OUTPUTS = {
    "logits": np.arange(6, dtype=np.float32).reshape(3, 2),
    "attention": np.ones((2, 5), np.float32),
}


def make_reference() -> dict[str, Any]:
    draws = {
        "images": Draw((4, 4, 3), "uint8", picture=True),
        "tokens": Draw((5,), "int32", levels=9),
    }
    synthetic = Samples(draw_inputs(draws, 3), OUTPUTS)
    own = Samples(draw_inputs(draws, 2, seed=7), {"logits": OUTPUTS["logits"][:2]}, np.arange(2))
    return ReferenceSet(synthetic, draws, 0, own).to_document()


def make_first_reference() -> dict[str, Any]:
    """What files held before models had several inputs."""
    images, logits = draw_images(3, (4, 4)), OUTPUTS["logits"]

    def digest(array: np.ndarray) -> str:
        return hashlib.sha256(str(array.shape).encode() + array.tobytes()).hexdigest()

    return {
        "generator": GENERATOR,
        "seed": 0,
        "count": 3,
        "size": [4, 4],
        "images_sha256": digest(images),
        "logits_sha256": digest(logits),
        "logits": encode_array(logits),
        "first_images": encode_array(images),
        "others": {"attention": encode_array(OUTPUTS["attention"])},
    }


def make_ranges() -> dict[str, Any]:
    return RangeRecord(
        ranges={"net/a": (0.0, 1.0)},
        images=3,
        source="drawn",
        images_sha256="aa",
        weights_sha256="bb",
        graph="net 4x4",
        seen={"net/a": (-1.0, 2.0)},
        histograms={"net/a": Histogram.of_values(np.arange(5.0))},
        means={"net/a": (0.5, 0.25)},
    ).to_document()


def make_benchmark() -> dict[str, Any]:
    row = Measurement(
        BenchmarkCase("a.onnx", "onnxruntime", batch=1),
        "aa",
        10,
        latency_ns=((5, 6), (7, 8)),
        instructions=InstructionCount(1, 100, 200),
    )
    machine = Environment("A CPU", ("avx2",), 2, 1, "Linux", "x86_64", "none", "ab", "", {"a": "1"})
    return json.loads(BenchmarkResult(machine, (row,), 0, (5, 6), 0).to_text())


def make_verification() -> dict[str, Any]:
    figures = {"max_abs": 0.1, "relative": 0.02}
    other = {"name": "attention", "images": 2, **figures, "largest": 1.0}
    run = {"runtime": "litert", "images": 9, **figures, "mean_abs": 0.01, "top1_agreement": 1.0}
    accuracy = {"images": 9, "top1": 80.0, "top5": 90.0, "runtime": "x", "source": "d"}
    return {
        "file": "net.tflite",
        "sha256": "aa",
        "verdict": "pass",
        "runs": [{**run, "others": [other]}],
        "accuracy": {**accuracy, "seconds": 1.0},
        "real_images": run,
        "arena_bytes": 4096,
    }


def make_profile() -> dict[str, Any]:
    rows = [{"name": "net/a", "time_us": 5.0}]
    return {"file": "net.tflite", "profile": {}, "runs": 2, "rows": rows}


def make_layers() -> dict[str, Any]:
    return {"file": "net.tflite", "layers": [{"layer": "net/a", "relative": 0.1}]}


def read_evidence(document: Any, folder) -> None:
    """Raises what ``edgevit report`` notes about a document, as the other readers do."""
    evidence = Evidence({"net.tflite": FileReport("net.tflite", "tflite", 1, "aa")})
    path = folder / FILE
    path.write_text(json.dumps(document))
    before = dict(evidence.files)
    evidence.add(path)
    if evidence.ignored:
        assert evidence.files == before
        raise ModelFileError(evidence.ignored[0])


OF_FILE = {"file", "sha256", "verdict", "profile"}
OF_EVIDENCE = frozenset(
    {*OF_FILE, "accuracy", "real_images", "arena_bytes", "others", "source", "seconds"}
)
FREE = ("calibration", "versions")  # objects of whatever the writer knew
TOLD_BY = ("verdict", "profile", "kind", "runs", "rows", "layers")  # without them it is another
OF_DRAWS = frozenset({"picture", "levels"})  # which are then drawn differently, and told so
NAMED_BY_MODELS = ("images", "tokens", "logits", "attention")  # inputs and outputs
MAY_BE_NULL = ("preprocess", "resize", "calibration", "roofline", "reference", "instructions")


@pytest.fixture(
    params=[
        *("manifest", "reference", "first reference", "ranges", "benchmark"),
        *("runs", "rows", "layers"),
    ]
)
def document(request, tmp_path) -> Document:
    def evidence(found: Any) -> None:
        read_evidence(found, tmp_path)

    rows = {
        "manifest": Document(
            make_manifest(), lambda d: Manifest.from_document(d, FILE), frozenset(ADDED)
        ),
        "reference": Document(
            make_reference(),
            lambda d: ReferenceSet.from_document(d, FILE),
            frozenset({"own", "labels"}) | OF_DRAWS,
        ),
        "first reference": Document(
            make_first_reference(),
            lambda d: ReferenceSet.from_document(d, FILE),
            frozenset({"others"}),
        ),
        "ranges": Document(
            make_ranges(),
            lambda d: RangeRecord.from_document(d, FILE),
            frozenset({"method", "seen", "histograms", "means"}),
        ),
        "benchmark": Document(
            make_benchmark(),
            lambda d: BenchmarkResult.from_document(d, FILE),
            frozenset(
                {"roofline", "threads", "device", "total", "total_of_twice"}
                | (Measurement.__dataclass_fields__.keys() - {"case", "sha256", "size_bytes"})
            ),
        ),
        "runs": Document(make_verification(), evidence, OF_EVIDENCE | {"runtime"}),
        "rows": Document(make_profile(), evidence, OF_EVIDENCE),
        "layers": Document(make_layers(), evidence, OF_EVIDENCE),
    }
    found = rows[request.param]
    return found._replace(content=json.loads(to_json(found.content)))


def list_places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of all values inside a document, the first of each list standing for the others."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value[:1])
    for key, item in items:
        yield (*path, key)
        if isinstance(item, (dict, list)) and key not in FREE:
            yield from list_places(item, (*path, key))


def list_fields(document: dict[str, Any]) -> list[Path]:
    """Paths of all fields of all objects by which a document is not told from others."""
    paths = list_places(document)
    return [path for path in paths if isinstance(path[-1], str) and path[-1] not in TOLD_BY]


def changed(content: dict[str, Any], path: Path, *value: Any) -> dict[str, Any]:
    """The document with another value in one place; with none, without it."""
    found = copy.deepcopy(content)
    place: Any = found
    for key in path[:-1]:
        place = place[key]
    if value:
        place[path[-1]] = value[0]
    else:
        del place[path[-1]]
    return found


def refusal(document: Document, content: Any) -> str:
    """The one line with which a document is refused; empty if it is read."""
    told = ""
    try:
        document.read(content)
    except ModelFileError as error:
        told = str(error)
    assert not told or told.startswith(f"{FILE}: ")
    assert "\n" not in told
    return told


def test_a_whole_document_is_read(document):
    assert refusal(document, document.content) == ""
    assert refusal(document, {**document.content, "of_a_later_version": 1}) == ""


def test_a_field_that_is_lost_is_named(document):
    for path in list_fields(document.content):
        told = refusal(document, changed(document.content, path))
        if path[-1] in document.optional or "net/a" in path[-2:] or path[0] == "others":
            continue  # or a tensor that others are about
        if path[-1] in NAMED_BY_MODELS:
            assert told or path[0] in ("own", "inputs"), path  # the manifest holds their digest
            continue
        assert str(path[-1]) in told or str(path[0]) in told, (path, told)


def test_a_field_of_another_kind_is_named(document):
    for path in list_fields(document.content):
        now = document.content
        for key in path:
            now = now[key]
        wrong = "text" if isinstance(now, (dict, list)) else {"no": "number"}
        told = refusal(document, changed(document.content, path, wrong))
        assert str(path[-1]) in told or str(path[0]) in told, (path, told)


@pytest.mark.parametrize(
    "value",
    [None, True, -1, 1.5, 10**400, "", "text", [], [[]], [None], {}, {"a": {}}],
    ids=lambda value: f"{value!r:.12}",
)
def test_whatever_stands_in_a_field_is_read_or_refused_in_one_line(document, value):
    for path in list_places(document.content):
        told = refusal(document, changed(document.content, path, value))
        if value is None and path[-1] in MAY_BE_NULL:
            assert told == "", path


@pytest.mark.parametrize("content", [None, True, 7, "text", [], [[]], {}], ids=str)
def test_what_is_no_such_document_is_refused_in_one_line(document, content):
    assert refusal(document, content)

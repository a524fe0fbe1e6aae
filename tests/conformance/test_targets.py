"""Every target: the file agrees with the float model, and carries the metadata that prove it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgevit.base.files import digest_path, size_path
from edgevit.core.class_names import CIFAR10_CLASSES
from edgevit.core.format import Format
from edgevit.core.manifest import Manifest, manifest_path, read_manifest_file
from edgevit.core.parity import KERNELS, SYNTHETIC, Verdict
from edgevit.core.reference import COUNT, ReferenceSet
from edgevit.core.signature import Role
from edgevit.core.target import Precision
from edgevit.core.tensors import Preprocess
from edgevit.formats.registry import TARGETS, open_session, verifying_runtimes
from edgevit.frontend.opening import open_source
from edgevit.verbs.verify import verify

KEYS = {"edgevit.manifest", "edgevit.labels", "edgevit.preprocess", "edgevit.reference"}
LARGEST = {Precision.FLOAT32: 1e-4, Precision.FLOAT16: 2e-2}


@pytest.fixture(scope="module")
def float_model(tiny_run):
    return open_source(tiny_run)


def test_every_kernel_set_of_the_runtime_passes(outcomes, target):
    outcome = outcomes[target.name]
    assert outcome.verdict is Verdict.PASS
    runtimes, missing = verifying_runtimes(target)
    floats = [report for report in outcome.reports if report.samples == SYNTHETIC]
    others = [report for report in outcome.reports if report.samples == KERNELS]
    assert len(floats) == len(runtimes) >= len(target.runtimes)
    assert [report.runtime for report in others] == [report.runtime for report in floats[1:]]
    assert len(outcome.reports) == len(floats) + len(others)
    assert outcome.not_run == tuple(missing)
    for report in outcome.reports:
        assert report.verdict(target.tolerance) is Verdict.PASS
        slow = report.runtime in [row.name for row in runtimes[1:] if row.slow]
        assert report.images == (target.tolerance.telling if slow else COUNT)


def test_the_logits_are_as_near_as_the_precision_allows(outcomes, target):
    limits = target.tolerance.limit(Role.LOGITS)
    for report in outcomes[target.name].reports:
        if report.samples == KERNELS:
            continue
        limit = LARGEST.get(target.precision, np.inf)
        assert report.max_abs <= limit
        assert report.mean_abs <= report.max_abs
        assert 0 < report.relative <= limits.relative
        assert report.top1_agreement >= limits.agreement


def test_a_file_agrees_with_the_float_model_on_other_images_too(
    exported, target, float_model, raw_images
):
    from edgevit.frontend.record_reference import float_outputs

    expected = float_outputs(float_model, raw_images)["logits"]
    with open_session(exported[target.name]) as session:
        found = session.run(raw_images)["logits"]
    assert found.shape == expected.shape == (50, 10)
    difference = np.abs(found - expected)
    assert difference.max() <= LARGEST.get(target.precision, np.inf)
    assert difference.mean() / expected.std() <= target.tolerance.limit(Role.LOGITS).relative


def test_verification_of_the_file_alone_repeats_the_verdict_of_the_export(
    outcomes, exported, target
):
    found = verify(exported[target.name])
    assert found.verdict is Verdict.PASS
    assert found.target is target
    for again, before in zip(found.reports, outcomes[target.name].reports, strict=True):
        assert again.runtime == before.runtime
        assert again.max_abs == pytest.approx(before.max_abs, rel=1e-3, abs=1e-6)


def test_every_paper_travels_in_the_formats_own_metadata(exported, target):
    path = exported[target.name]
    if target.format is Format.ONNX:
        import onnx

        found = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    elif target.format is Format.TFLITE:
        from ai_edge_litert.schema_py_generated import Model

        model = Model.GetRootAs(path.read_bytes(), 0)
        entries = [model.Metadata(number) for number in range(model.MetadataLength())]
        found = {
            entry.Name().decode(): model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode()
            for entry in entries
            if entry.Name().startswith(b"edgevit.")
        }
    else:
        files = (path / "assets.extra").glob("edgevit.*.json")
        found = {file.stem: file.read_text() for file in files}
    assert set(found) >= KEYS
    assert json.loads(found["edgevit.labels"]) == list(CIFAR10_CLASSES)
    contract = Preprocess(**json.loads(found["edgevit.preprocess"]))
    assert (contract.input_size, contract.network_size) == ((12, 12), (16, 16))
    manifest = Manifest.from_document(json.loads(found["edgevit.manifest"]), "x")
    reference = ReferenceSet.from_document(json.loads(found["edgevit.reference"]), "x")
    assert manifest.target == target.name
    assert manifest.reference_sha256 == reference.digest
    assert len(reference.synthetic) == COUNT
    assert manifest.task == "classification"
    assert [spec.name for spec in manifest.signature.inputs] == ["images"]
    assert [spec.role for spec in manifest.signature.outputs] == [Role.LOGITS]


def test_a_session_hands_out_the_same_metadata(exported, target):
    with open_session(exported[target.name]) as session:
        assert set(session.metadata) >= KEYS


def test_the_manifest_beside_the_file_says_what_the_file_is(outcomes, exported, target):
    path = exported[target.name]
    document = read_manifest_file(path)
    assert document["file"] == path.name == f"shiftvit-{target.name}{target.suffix}"
    assert document["sha256"] == digest_path(path) == outcomes[target.name].artifact.sha256
    assert document["size_bytes"] == size_path(path)
    beside = Manifest.from_document(document, path.name)
    with open_session(path) as session:
        assert session.metadata["edgevit.manifest"] == json.dumps(beside.to_document())
        assert (beside.inputs, beside.outputs) == (session.inputs, session.outputs)
    assert beside.class_names == CIFAR10_CLASSES
    assert (beside.calibration is not None) == target.needs_calibration
    assert beside.steps
    assert {"python", "edgevit", "keras", "tensorflow"} - {"edgevit"} <= set(beside.versions)


def test_a_file_takes_one_raw_image_and_gives_named_logits(exported, target):
    with open_session(exported[target.name]) as session:
        (entry,) = session.inputs
        results = {spec.name: spec for spec in session.outputs}
    assert entry.shape == (1, 12, 12, 3)
    assert entry.dtype == "uint8"
    assert results["logits"].shape == (1, 10)
    integers = {Precision.INT8: "int8", Precision.INT16X8: "int16"}
    wanted = integers[target.precision] if target.integer_only else "float32"
    assert results["logits"].dtype == wanted


def test_nothing_else_lies_in_the_folder_than_files_and_their_manifests(exported):
    folder = next(iter(exported.values())).parent
    expected = {path.name for path in exported.values()}
    expected |= {manifest_path(path).name for path in exported.values()}
    assert {entry.name for entry in folder.iterdir()} == expected
    assert len(expected) == 2 * len(TARGETS)


def test_files_are_as_small_as_their_precision_promises(exported):
    size = {name: size_path(path) for name, path in exported.items()}
    assert size["tflite-float16"] < 0.7 * size["tflite-float32"]
    assert size["tflite-int8"] < 0.5 * size["tflite-float32"]
    assert size["tflite-dynamic"] < 0.5 * size["tflite-float32"]
    assert size["tflite-mixed"] < 0.7 * size["tflite-float32"]  # small layers may stay float
    assert size["tflite-int16x8"] < 0.5 * size["tflite-float32"]
    assert size["tflite-dynamic-int4"] < size["tflite-dynamic"]
    assert size["onnx-float16"] < 0.7 * size["onnx-float32"]
    assert size["onnx-int8"] < 0.5 * size["onnx-float32"]
    assert size["onnx-dynamic"] < 0.7 * size["onnx-float32"]  # convolutions stay float32

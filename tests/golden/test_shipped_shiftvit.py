"""The shipped ShiftViT, at full size: what `make demo` does, and what the model card says."""

from __future__ import annotations

import numpy as np
import pytest

import edgevit
from edgevit.frontend.opening import open_source
from edgevit.frontend.record_reference import float_outputs
from edgevit.models.shipped import ARTIFACTS
from edgevit.verification.metrics import top_k

FOLDER = ARTIFACTS / "shiftvit"


@pytest.fixture(scope="module")
def source():
    return open_source("shiftvit")


@pytest.fixture(scope="module")
def int8(tmp_path_factory):
    return edgevit.export("shiftvit", "tflite-int8", tmp_path_factory.mktemp("exports"))


def test_the_weights_are_float16():
    assert (FOLDER / "weights.safetensors").stat().st_size < 25e6


def test_the_shipped_network_is_the_paper_form_in_the_tutorials_size(source):
    assert source.network.count_params() == 11_690_602
    assert len(source.class_names) == 10
    assert source.preprocess.input_size == (32, 32)
    assert source.preprocess.network_size == (48, 48)


def test_int8_needs_no_dataset_and_passes(int8):
    assert int8.verdict == "pass"
    assert int8.artifact.size_bytes <= 13e6
    found = edgevit.inspect(int8.artifact.path)
    assert found.integer_only
    assert found.float_ops == {}
    assert found.custom_ops == ()
    assert [spec.dtype for spec in found.inputs] == ["uint8"]


def test_int8_onnx_needs_no_dataset_and_passes(tmp_path):
    outcome = edgevit.export("shiftvit", "onnx-int8", tmp_path)
    assert outcome.verdict == "pass"
    assert outcome.artifact.size_bytes <= 13e6
    found = edgevit.inspect(outcome.artifact.path)
    assert found.ops["QuantizeLinear"] >= 37  # one before each layer with weights
    assert found.tensor_types["int8"] >= 37


def test_int8_file_classifies_real_images_as_float_does(source, int8, cifar_test):
    chosen = np.random.default_rng(2).permutation(len(cifar_test))[:600]
    images, labels = cifar_test.images[chosen], cifar_test.labels[chosen]
    expected = float_outputs(source, images)["logits"]
    with edgevit.open_session(int8.artifact.path) as session:
        logits = session.run(images)["logits"]
    assert np.mean(np.argmax(logits, -1) == np.argmax(expected, -1)) > 0.94
    assert abs(top_k(logits, labels, 1) - top_k(expected, labels, 1)) < 2.0

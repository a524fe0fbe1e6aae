"""What a user may choose for any target: the batch, the preprocessing, the type of the input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevit.base.errors import ConfigError
from edgevit.core.golden_images import draw_images
from edgevit.core.manifest import read_manifest_file
from edgevit.core.parity import Verdict
from edgevit.core.tensors import Preprocess
from edgevit.formats.registry import open_session
from edgevit.verbs.export import export, export_all
from edgevit.verbs.verify import verify
from edgevit.verification.audit import inspect

KINDS = ("savedmodel", "tflite-float32", "tflite-int8", "onnx-float32")


def export_some(model: Path, folder: Path, names: str = ",".join(KINDS), **options) -> dict:
    outcomes = export_all(model, names, folder, **options)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.PASS] * len(outcomes)
    return {outcome.target.name: outcome.artifact.path for outcome in outcomes}


@pytest.fixture(scope="module")
def batch_of_4(tiny_run, tmp_path_factory) -> dict[str, Path]:
    return export_some(tiny_run, tmp_path_factory.mktemp("four"), batch=4)


@pytest.fixture(scope="module")
def any_batch(tiny_run, tmp_path_factory) -> dict[str, Path]:
    return export_some(tiny_run, tmp_path_factory.mktemp("dynamic"), batch=None)


@pytest.fixture(scope="module")
def bare(tiny_run, tmp_path_factory) -> dict[str, Path]:
    calibration = draw_images(32, (12, 12), seed=9)
    folder = tmp_path_factory.mktemp("bare")
    return export_some(tiny_run, folder, preprocess=False, calibration=calibration)


def logits_of(path: Path, images: np.ndarray) -> np.ndarray:
    with open_session(path) as session:
        return session.run(images)["logits"]


def close(name: str, first: np.ndarray, second: np.ndarray) -> bool:
    """Equal up to the order of additions; int8 rows may differ by a level in rare places."""
    if name == "tflite-int8":
        return np.mean(first != second) < 0.02 and np.abs(first - second).max() < 0.3
    return bool(np.allclose(first, second, atol=1e-5))


@pytest.mark.parametrize("name", KINDS)
def test_a_fixed_batch_of_4_gives_the_answers_of_a_batch_of_1(
    batch_of_4, exported, raw_images, name
):
    with open_session(batch_of_4[name]) as session:
        assert session.inputs[0].shape == (4, 12, 12, 3)
        assert session.outputs[0].shape == (4, 10)
    for count in (1, 3, 4, 9):
        found = logits_of(batch_of_4[name], raw_images[:count])
        assert found.shape == (count, 10)
        assert close(name, found, logits_of(exported[name], raw_images[:count]))


@pytest.mark.parametrize("name", KINDS)
def test_a_free_batch_gives_the_answers_of_a_batch_of_1(any_batch, exported, raw_images, name):
    with open_session(any_batch[name]) as session:
        assert session.inputs[0].shape == (None, 12, 12, 3)
        found = [session.run(raw_images[:count])["logits"] for count in (1, 50, 3)]
    expected = logits_of(exported[name], raw_images)
    for rows in found:
        assert close(name, rows, expected[: len(rows)])


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_a_free_batch_verifies_by_itself(any_batch, name):
    assert verify(any_batch[name]).verdict is Verdict.PASS


@pytest.mark.parametrize("name", KINDS)
def test_an_integer_file_of_any_batch_stays_integer_only(batch_of_4, any_batch, name):
    for files in (batch_of_4, any_batch):
        assert inspect(files[name]).integer_only == (name == "tflite-int8")


@pytest.mark.parametrize("name", KINDS)
def test_a_bare_network_takes_floats_of_the_networks_own_size(bare, name):
    with open_session(bare[name]) as session:
        assert session.inputs[0].shape == (1, 16, 16, 3)
        assert session.inputs[0].dtype == "float32"
        assert session.outputs[0].dtype == "float32"
    document = read_manifest_file(bare[name])
    assert document["preprocess_inside"] is False
    assert document["preprocess"]["input_size"] == [12, 12]


@pytest.mark.parametrize("name", KINDS)
def test_a_bare_network_answers_raw_pixels_and_prepared_floats_alike(
    bare, exported, raw_images, name
):
    document = read_manifest_file(bare[name])
    prepared = Preprocess(**document["preprocess"]).apply(raw_images)
    assert prepared.shape == (50, 16, 16, 3)
    raw = logits_of(bare[name], raw_images)
    np.testing.assert_array_equal(logits_of(bare[name], prepared), raw)
    expected = logits_of(exported[name], raw_images)
    if name == "tflite-int8":  # the resize is quantised in one file only
        assert np.abs(raw - expected).mean() < 0.2 * expected.std()
    else:
        np.testing.assert_allclose(raw, expected, atol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_a_bare_network_verifies_by_itself(bare, name):
    assert verify(bare[name]).verdict is Verdict.PASS


@pytest.mark.parametrize("size", [(15, 16), (12, 16)])
def test_a_bare_network_refuses_floats_of_another_size(bare, size):
    with open_session(bare["onnx-float32"]) as session, pytest.raises(ConfigError):
        session.run(np.zeros((1, *size, 3), np.float32))


@pytest.mark.parametrize(
    ("name", "dtype", "chosen", "output"),
    [
        ("tflite-int8", "int8", {}, "int8"),
        ("tflite-int8", "float32", {}, "float32"),
        ("tflite-int8", "uint8", {"output_dtype": "uint8"}, "uint8"),
        ("tflite-int8", "uint8", {"output_dtype": "float32"}, "float32"),
        ("tflite-float32", "float32", {}, "float32"),
        ("onnx-float32", "float32", {}, "float32"),
    ],
)
def test_the_borders_have_the_chosen_types_and_the_answers_stay(
    tiny_run, exported, raw_images, tmp_path, name, dtype, chosen, output
):
    path = export_some(tiny_run, tmp_path, name, io_dtype=dtype, **chosen)[name]
    with open_session(path) as session:
        assert session.inputs[0].dtype == dtype
        assert session.outputs[0].dtype == output
        found = session.run(raw_images)["logits"]
    assert close(name, found, logits_of(exported[name], raw_images))
    if name == "tflite-int8":
        assert inspect(path).integer_only == ("float32" not in (dtype, output))


def test_a_bare_integer_network_can_take_int8(tiny_run, raw_images, tmp_path, bare):
    calibration = draw_images(32, (12, 12), seed=9)
    options = {"preprocess": False, "io_dtype": "int8", "calibration": calibration}
    path = export_some(tiny_run, tmp_path, "tflite-int8", **options)["tflite-int8"]
    assert inspect(path).integer_only
    with open_session(path) as session:
        assert (session.inputs[0].dtype, session.inputs[0].shape) == ("int8", (1, 16, 16, 3))
        found = session.run(raw_images)["logits"]
    # numpy and LiteRT round halves differently, so a few pixels enter one level apart.
    assert np.abs(found - logits_of(bare["tflite-int8"], raw_images)).max() < 0.3


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("onnx-float32", {"io_dtype": "float64"}, "uint8, int8, float32"),
        ("tflite-int8", {"io_dtype": "int32"}, "uint8, int8, float32"),
        ("onnx-float32", {"preprocess": False, "io_dtype": "uint8"}, "bare network"),
        ("tflite-float32", {"io_dtype": "int8"}, "int8"),
        ("onnx-float32", {"io_dtype": "int8"}, "int8"),
        ("savedmodel", {"io_dtype": "int8"}, "int8"),
        ("tflite-float16", {"preprocess": False, "io_dtype": "int8"}, "int8"),
        ("tflite-int8", {"output_dtype": "int16"}, "uint8, int8, float32"),
        ("tflite-float32", {"output_dtype": "uint8"}, "tflite-int8, tflite-int8-micro"),
        ("savedmodel", {"batch": 0}, "at least 1"),
        ("savedmodel", {"batch": -3}, "at least 1"),
    ],
    ids=str,
)
def test_a_choice_that_makes_no_sense_is_refused_and_nothing_is_written(
    tiny_run, tmp_path, name, options, words
):
    with pytest.raises(ConfigError, match=words) as caught:
        export(tiny_run, name, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists() or [*(tmp_path / "out").iterdir()] == []

"""Runtimes of .onnx files beside onnxruntime: what verify, evaluate, benchmark and predict do."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.base.errors import ModelFileError, RuntimeFailure
from edgevit.core.format import Format
from edgevit.core.parity import Verdict
from edgevit.formats.registry import RUNTIMES, is_installed, load_session, open_session, runtimes_of
from edgevit.verbs.export import export_all
from edgevit.verbs.verify import verify

OTHERS = [name for name in runtimes_of(Format.ONNX) if RUNTIMES[name].library != "onnxruntime"]


@pytest.fixture(params=OTHERS)
def runtime(request) -> str:
    if not is_installed(RUNTIMES[request.param]):
        pytest.skip(f"{request.param} is not installed: make test-crosscheck")
    return request.param


@pytest.fixture(scope="module")
def nano(tmp_path_factory) -> dict:
    """The shipped shiftvit:nano with a free batch, by target."""
    outcomes = export_all(
        "shiftvit:nano", "onnx-float32,onnx-int8", tmp_path_factory.mktemp("nano"), batch=None
    )
    return {outcome.target.name: outcome.artifact.path for outcome in outcomes}


def test_a_shipped_network_with_a_free_batch_passes(nano, runtime):
    for path in nano.values():
        found = verify(path, runtime=runtime)
        assert found.verdict is Verdict.PASS, found.reports
        assert found.reports[0].images == 256


def test_the_file_is_described_as_onnxruntime_describes_it(exported, nano, runtime):
    for path in (exported["onnx-float32"], nano["onnx-int8"]):
        with open_session(path) as usual, open_session(path, runtime) as session:
            assert (session.inputs, session.outputs) == (usual.inputs, usual.outputs)
            assert session.metadata == usual.metadata
            assert session.runtime.startswith(runtime)


def test_any_batch_gives_each_image_its_own_row(exported, nano, runtime, raw_images):
    with open_session(exported["onnx-float32"], runtime) as session:
        whole = session.run(raw_images)["logits"]
        assert whole.dtype == np.float32
        assert len(np.unique(whole, axis=0)) == len(raw_images)
        np.testing.assert_allclose(session.run(raw_images[::-1])["logits"], whole[::-1], atol=1e-5)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    with open_session(nano["onnx-float32"], runtime) as session:
        whole = session.run(images)["logits"]
        np.testing.assert_allclose(session.run(images[3:])["logits"], whole[3:], atol=1e-5)


def test_what_is_bound_computes_the_bound_batch_each_time(exported, runtime, raw_images):
    with open_session(exported["onnx-float32"], runtime) as session:
        wanted = session.run(raw_images[:1])["logits"]
        image = raw_images[:1].copy()
        image.flags.writeable = False  # as a picture's pixels are
        infer = session.bind(image)
        for _ in range(2):
            np.testing.assert_array_equal(np.asarray(infer()[0]), wanted)


def test_the_verbs_take_the_runtime_by_name(command, exported, pictures, runtime):
    path = exported["onnx-int8"]
    found = command("verify", path, "--runtime", runtime, "--json").document
    assert (found["verdict"], found["runs"][0]["runtime"].split("-")[0]) == ("pass", runtime)
    usual, other = (
        command("predict", path, pictures[0], "--runtime", name, "--json").document
        for name in ("onnxruntime", runtime)
    )
    assert other[0]["classes"][0]["class"] == usual[0]["classes"][0]["class"]
    measured = command("benchmark", path, "--runtime", runtime, "--rounds", 2, "--json").document
    (row,) = measured["rows"]
    assert (row["runtime"], row["failure"]) == (runtime, "")
    assert RUNTIMES[runtime].package in measured["environment"]["versions"]


def test_more_threads_than_a_runtime_has_are_refused_in_one_line(exported):
    if not is_installed(RUNTIMES["tract"]):
        pytest.skip("tract is not installed: make test-crosscheck")
    with pytest.raises(RuntimeFailure, match="one thread; 2 were asked for") as caught:
        open_session(exported["onnx-float32"], "tract", threads=2)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_refused_in_one_line(exported, runtime, tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(exported["onnx-float32"].read_bytes()[:5000])
    with pytest.raises(ModelFileError, match="damaged") as caught:
        load_session(path, runtime)
    assert "\n" not in str(caught.value)

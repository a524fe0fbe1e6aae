"""The tiny ShiftViT for microcontrollers: exported, and run in TensorFlow Lite Micro."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from edgevit.base.documents import to_json
from edgevit.base.errors import ConfigError, MissingDependencyError, ModelFileError, RuntimeFailure
from edgevit.core.parity import KERNELS, SYNTHETIC
from edgevit.core.seal import BLANK, seal
from edgevit.formats.registry import (
    RUNTIMES,
    TARGETS,
    choose_runtime,
    find_target,
    open_session,
)
from edgevit.formats.tflite.runtime.litert import open_interpreter
from edgevit.verbs.export import export_all, plan_export
from edgevit.verbs.verify import verify
from edgevit.verification.audit import inspect


@pytest.fixture(scope="module")
def micro(outcomes):
    """The outcome of the export for microcontrollers."""
    return outcomes["tflite-int8-micro"]


@pytest.fixture
def tflm():
    pytest.importorskip("tflite_micro", reason="pip install 'edgevit[tflm]'")


def test_the_export_holds_neither_gelu_nor_fully_connected_and_passes(micro, exported):
    ops, before = inspect(micro.artifact.path).ops, inspect(exported["tflite-int8"]).ops
    assert micro.verdict == "pass"
    assert "GELU" not in ops
    assert "FULLY_CONNECTED" not in ops
    assert ops["GATHER"] == before["GELU"] == 2
    assert ops["CONV_2D"] == before["CONV_2D"] + before["FULLY_CONNECTED"]
    assert inspect(micro.artifact.path).integer_only
    assert any("GELU as tables" in step for step in micro.artifact.manifest.steps)


def test_micro_and_litert_s_reference_kernels_agree_to_the_bit(tflm, micro, raw_images):
    path = micro.artifact.path
    with open_session(path, "micro") as session, open_session(path, "reference") as reference:
        found, wanted = session.run(raw_images), reference.run(raw_images)
        assert (session.inputs, session.outputs) == (reference.inputs, reference.outputs)
        assert session.metadata == reference.metadata
    assert np.ptp(wanted["logits"]) > 0.5
    np.testing.assert_array_equal(found["logits"], wanted["logits"])


def test_the_second_run_of_a_bound_batch_is_that_of_the_first(tflm, micro, raw_images):
    """The input's place in the arena is written over within a run."""
    with open_session(micro.artifact.path, "micro") as session:
        call = session.bind(raw_images[:1])
        call()
        first = np.array(session._interpreter.get_output(0))
        session.run(raw_images[1:2])
        call()
        np.testing.assert_array_equal(np.array(session._interpreter.get_output(0)), first)


def test_the_arena_holds_at_least_the_largest_pair_of_tensors(tflm, micro):
    with open_session(micro.artifact.path, "micro") as session:
        size = session.arena_bytes
    interpreter = open_interpreter(micro.artifact.path, "reference")
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}

    def held(index: int) -> int:
        detail = details[index]
        return int(np.prod(detail["shape"])) * np.dtype(detail["dtype"]).itemsize

    needed = max(
        sum(held(index) for index in (op["inputs"][0], *op["outputs"]))
        for op in interpreter._get_ops_details()
        if op["op_name"] in ("CAST", "ADD", "PAD")
    )
    assert needed < size < 100 * needed


def test_what_has_no_kernel_is_named_with_its_layers(tflm, exported):
    with pytest.raises(RuntimeFailure) as caught:
        open_session(exported["tflite-int8"], "micro")
    message = str(caught.value)
    assert "no kernel for 2 GELU (layer shiftvit/stage1_block1/expand" in message
    assert "tflite-int8-micro" in message
    assert "FULLY_CONNECTED" not in message  # it has one


def test_all_missing_operators_are_found(tflm, micro, exported):
    from edgevit.formats.tflite.runtime.tflm import missing_ops

    assert missing_ops(exported["tflite-int8"]) == {"GELU": 2}
    assert missing_ops(micro.artifact.path) == {}


def test_a_file_that_is_none_is_refused(tflm, tmp_path):
    (tmp_path / "x.tflite").write_bytes(b"\x1c\0\0\0TFL3" + b"\0" * 40)
    with pytest.raises(ModelFileError, match="damaged"):
        open_session(tmp_path / "x.tflite", "micro")


def test_a_machine_without_it_is_told_what_to_install(monkeypatch, exported):
    monkeypatch.setitem(sys.modules, "tflite_micro.python.tflite_micro", None)
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    with pytest.raises(MissingDependencyError, match=r"edgevit\[tflm\]"):
        open_session(exported["tflite-int8"], "micro")


def test_verify_runs_it_and_says_how_large_the_arena_is(tflm, micro, command):
    path = micro.artifact.path
    document = command("verify", path, "--runtime", "tflm", "--json").document
    assert document["verdict"] == "pass"
    assert document["runtime"] == "tflm"
    assert document["arena_bytes"] > 10_000
    assert "arena_bytes" not in command("verify", path, "--runtime", "litert", "--json").document
    assert "of working memory" in command("verify", path, "--runtime", "tflm").out


def test_predict_and_evaluate_run_it(tflm, micro, command, raw_images, tmp_path):
    path = micro.artifact.path
    Image.fromarray(raw_images[0]).save(tmp_path / "a.png")
    images = [
        command("predict", path, tmp_path / "a.png", "--json", *more).document
        for more in ((), ("--runtime", "tflm"))
    ]
    assert images[0][0]["classes"][0]["class"] == images[1][0]["classes"][0]["class"]
    labels = np.arange(20) % 10
    np.savez(
        tmp_path / "d.npz",
        x_train=raw_images[:20],
        y_train=labels,
        x_test=raw_images[20:40],
        y_test=labels,
    )
    found = [
        command("evaluate", path, "--data", tmp_path / "d.npz", "--json", *more).document
        for more in (("--kernels", "reference"), ("--runtime", "tflm"))
    ]
    assert found[1]["runtime"] == "tflm"
    assert found[0]["top1"] == found[1]["top1"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("verify", "onnx-float32", "--runtime", "tflm"), "reads tflite files, this is onnx"),
        (("verify", "tflite-int8", "--runtime", "tflmm"), "Did you mean"),
        (("evaluate", "tflite-int8", "--runtime", "tflm", "--kernels", "builtin"), "one of them"),
    ],
)
def test_bad_runtimes_are_one_line(command, exported, arguments, text):
    verb, target, *rest = arguments
    answer = command(verb, exported[target], *rest)
    assert answer.code == 2
    assert text in answer.error


def test_it_is_verified_in_its_own_runtime_where_that_is_installed(tflm, micro, command):
    names = ["litert-xnnpack", "litert-reference", "tflm"]
    floats = [report.runtime for report in micro.reports if report.samples == SYNTHETIC]
    others = [report.runtime for report in micro.reports if report.samples == KERNELS]
    assert (floats, others) == (names, names[1:])
    assert micro.not_run == ()
    document = command("verify", micro.artifact.path, "--json").document
    assert document["runtime"] == " + ".join(names)
    assert document["target"] == "tflite-int8-micro"
    assert "not_run" not in document


def test_it_is_said_where_its_own_runtime_is_not_installed(
    monkeypatch, tiny_run, micro, command, tmp_path
):
    from edgevit.formats import registry

    monkeypatch.setattr(registry, "is_installed", lambda row: False)
    path = micro.artifact.path
    document = command("verify", path, "--json").document
    assert document["verdict"] == "pass"
    assert document["not_run"] == ["tflm"]
    assert "not run in tflm, which is not installed" in command("verify", path).out
    options = ("--format", "tflite-int8-micro", "--out", tmp_path)
    assert "pip install 'edgevit[tflm]'" in command("export", tiny_run, *options).out
    (row,) = command("export", tiny_run, *options, "--json").document
    assert (row["verdict"], row["not_run"]) == ("pass", ["tflm"])


def test_a_file_that_fails_in_its_own_runtime_alone_is_not_written(
    monkeypatch, tflm, tiny_run, tmp_path
):
    from edgevit.formats.tflite.runtime.tflm import MicroSession

    run = MicroSession.run_chunk
    wrong = lambda self, batch: {k: -v for k, v in run(self, batch).items()}  # noqa: E731
    monkeypatch.setattr(MicroSession, "run_chunk", wrong)
    (outcome,) = export_all(tiny_run, "tflite-int8-micro", tmp_path)
    assert outcome.verdict == "fail"
    assert outcome.artifact is None
    assert not list(tmp_path.iterdir())


def test_a_file_that_the_option_wrote_under_the_name_of_the_other_still_verifies(
    tflm, micro, tmp_path
):
    """Files exported before it was a target: its content, with the manifest of tflite-int8."""
    from edgevit.formats.tflite.runtime.file import add_metadata, pack_model, parse_model

    path = tmp_path / "net-tflite-int8.tflite"
    with open_session(micro.artifact.path) as session:
        documents = dict(session.metadata)
    key = "edgevit.manifest"
    documents[key] = documents[key].replace("tflite-int8-micro", "tflite-int8")
    documents["edgevit.seal"] = to_json(BLANK)
    model = parse_model(micro.artifact.path.read_bytes(), path.name)
    add_metadata(model, documents)
    path.write_bytes(pack_model(model))
    seal(path)
    found = verify(path)
    assert (found.verdict, found.target.name) == ("pass", "tflite-int8")
    assert verify(path, runtime="tflm").verdict == "pass"


def test_a_free_batch_is_refused_and_left_out_of_all(tiny_run, tmp_path):
    for names in ("tflite-int8-micro", "all,tflite-int8-micro", [find_target("tflite-int8-micro")]):
        with pytest.raises(ConfigError, match="fixed batch"):
            export_all(tiny_run, names, tmp_path / "out", batch=None)
    assert not (tmp_path / "out").exists()
    names = [target.name for target in plan_export("all", {"batch": None})[0]]
    fixed = ("tflite-int8-micro", "tflite-int8-npu")
    assert names == [name for name in TARGETS if name not in fixed]
    assert len(plan_export("all", {})[0]) == len(TARGETS)


def test_the_option_that_it_was_is_answered_with_the_target(tiny_run, tmp_path, command):
    answer = command("export", tiny_run, "--format", "tflite-int8", "--micro", "--out", tmp_path)
    assert answer.code == 2
    assert "--format tflite-int8-micro" in answer.error
    with pytest.raises(ConfigError, match="ask for tflite-int8-micro"):
        export_all(tiny_run, "tflite-int8", tmp_path, micro=True)
    assert not list(tmp_path.iterdir())


def test_every_runtime_is_found_by_its_name(exported):
    for name, row in RUNTIMES.items():
        path = next(p for n, p in exported.items() if n.startswith(str(row.format)))
        assert choose_runtime(path, name) is row


@pytest.mark.long
def test_the_shipped_network_runs_bit_for_bit(tflm, tmp_path):
    from edgevit.core.golden_images import draw_images

    (outcome,) = export_all("shiftvit", "tflite-int8-micro", tmp_path)
    images = draw_images(8, (32, 32), seed=3)
    with open_session(outcome.artifact.path, "micro") as session:
        found = session.run(images)["logits"]
    with open_session(outcome.artifact.path, "reference") as session:
        np.testing.assert_array_equal(found, session.run(images)["logits"])
    assert verify(outcome.artifact.path, runtime="tflm").verdict == "pass"

"""What a file of another tool does to a runtime, it does in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgevit.base.errors import ConfigError, EdgevitError, ModelFileError, RuntimeFailure
from edgevit.formats import registry, trial
from edgevit.formats.trial import try_out


@pytest.fixture
def stranger(tmp_path) -> Path:
    path = tmp_path / "other.onnx"
    path.write_bytes(b"not sealed")
    return path


def answering(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import os, signal, time, sys; {program}")


@pytest.mark.parametrize(
    ("program", "kind", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", RuntimeFailure, "died of it (SIGSEGV)"),
        ("os._exit(3)", RuntimeFailure, "died of it (exit code 3)"),
        ("print('{\"memory\": true}')", RuntimeFailure, "needs more than 2.1 GB"),
        ('print(\'{"error": "e", "kind": "ModelFileError"}\')', ModelFileError, "e"),
        ('print(\'{"error": "e", "kind": "SystemExit"}\')', RuntimeFailure, "e"),
        ("print('nonsense')", RuntimeFailure, "died of it"),
        ("time.sleep(60)", RuntimeFailure, "within 0.5 s"),
    ],
)
def test_whatever_becomes_of_the_process_is_one_line(stranger, monkeypatch, program, kind, said):
    monkeypatch.setattr(trial, "COMMAND", answering(program))
    monkeypatch.setattr(trial, "LIMIT_S", 0.5 if "sleep" in program else 30.0)
    with pytest.raises(kind) as caught:
        try_out(stranger, "onnxruntime")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_tried_once_until_it_changes(stranger, monkeypatch, tmp_path):
    log = tmp_path / "log"
    program = f"open({str(log)!r}, 'a').write('x'); print('{{\"fine\": true}}')"
    monkeypatch.setattr(trial, "COMMAND", answering(program))
    try_out(stranger, "onnxruntime")
    try_out(stranger, "onnxruntime")
    assert log.read_text() == "x"
    stranger.write_bytes(b"another")
    try_out(stranger, "onnxruntime")
    assert log.read_text() == "xx"


def test_the_variable_allows_more(monkeypatch):
    assert trial.memory_limit(1000) == trial.MEMORY + trial.FOLD * 1000
    monkeypatch.setenv(trial.VARIABLE, "8")
    assert trial.memory_limit(1000) == 8_000_000_000
    monkeypatch.setenv(trial.VARIABLE, "much")
    with pytest.raises(ConfigError, match="gigabytes"):
        trial.memory_limit(1000)


def make_onnx(path: Path, kind: str) -> Path:
    """An ONNX file that expands to gigabytes, takes text, returns nothing, or is harmless."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    element = TensorProto.STRING if kind == "text" else TensorProto.FLOAT
    sizes = np.array([40_000, 40_000] if kind == "huge" else [2, 2], np.int64)
    nodes = [helper.make_node("Expand", ["x", "sizes"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", element, [1, 1])],
        [helper.make_tensor_value_info("y", element, ["a", "b"])] if kind != "silent" else [],
        [numpy_helper.from_array(sizes, "sizes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("huge", "needs more than"),
        ("text", "only arrays of numbers"),
        ("silent", "has no output"),
    ],
)
def test_a_file_that_wants_too_much_or_too_little_is_refused(tmp_path, kind, said):
    path = make_onnx(tmp_path / "other.onnx", kind)
    with pytest.raises(EdgevitError, match=said):
        try_out(path, "onnxruntime")


def test_a_harmless_file_is_fine(tmp_path):
    try_out(make_onnx(tmp_path / "other.onnx", "small"), "onnxruntime")


def test_a_file_of_another_tool_is_tried_before_it_is_opened(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(registry, "try_out", lambda path, runtime: tried.append((path, runtime)))
    path = make_onnx(tmp_path / "other.onnx", "small")
    registry.open_session(path)
    assert tried == [(path, "onnxruntime")]

"""A verb asks for what it needs before it begins, and names the extras that bring it."""

from __future__ import annotations

import pytest

from programs import run_program

FRAMEWORKS = "jax,keras,matplotlib,jinja2,tensorflow,safetensors"
RUNTIMES = "ai_edge_litert,flatbuffers,onnx,onnx_ir,onnxruntime,onnxscript,tf2onnx"
EVERYTHING = f"{FRAMEWORKS},{RUNTIMES}"


@pytest.mark.parametrize(
    ("arguments", "extras"),
    [
        ("export shiftvit --format tflite-int8", "tensorflow,litert"),
        ("export shiftvit --format savedmodel,onnx-int8", "tensorflow,onnx"),
        ("calibrate shiftvit --data photos", "tensorflow,litert,onnx"),
        ("train shiftvit --data photos", "train"),
        ("explain shiftvit cat.png", "pictures"),
        ("report .", "report"),
        ("evaluate shiftvit --data photos", "tensorflow"),
    ],
)
def test_what_is_not_installed_is_told_before_anything_begins(tmp_path, arguments, extras):
    found = run_program("run_without", EVERYTHING, *arguments.split(), cwd=tmp_path)
    assert found.returncode == 1
    assert f"Run: pip install 'edgevit[{extras}]'" in found.stderr.splitlines()[-1]
    assert "internal error" not in found.stderr
    assert [*tmp_path.iterdir()] == []


def test_a_target_asks_for_nothing_of_the_others():
    from edgevit.formats.registry import find_target, needs_of

    packages = {need.package for need in needs_of(find_target("tflite-int8"))}
    assert packages == {"keras", "tensorflow", "ai_edge_litert"}


def test_an_architecture_says_what_it_needs(monkeypatch):
    import sys

    import edgevit

    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(
        edgevit.MissingDependencyError, match=r"pip install 'edgevit\[tensorflow\]'"
    ):
        edgevit.build("shiftvit")


def test_what_needs_no_framework_runs_without_any(tmp_path):
    for verb in ("models", "targets", "doctor"):
        found = run_program("run_without", EVERYTHING, verb, "--json", cwd=tmp_path)
        assert found.returncode == 0, found.stderr

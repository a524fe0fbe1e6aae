"""Errors: one line each, with the exit code that the command line promises."""

from __future__ import annotations

import pytest

from edgevit.base import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.ConfigError, 2),
        (errors.DataError, 2),
        (errors.ModelFileError, 2),
        (errors.ExportError, 1),
        (errors.RuntimeFailure, 1),
        (errors.OutputError, 1),
    ],
)
def test_what_the_user_handed_over_exits_with_2_and_everything_else_with_1(kind, code):
    error = kind("what happened")
    assert isinstance(error, errors.EdgevitError)
    assert error.exit_code == code
    assert str(error) == "what happened"


def test_an_unknown_name_is_a_key_error_that_prints_as_a_sentence():
    error = errors.UnknownNameError("model", "shiftvot", ["shiftvit", "gcvit"], "Look again.")
    assert isinstance(error, KeyError)
    assert error.exit_code == 2
    assert str(error) == "unknown model 'shiftvot'. Did you mean shiftvit? Look again."


def test_a_missing_package_comes_with_the_command_that_brings_it():
    error = errors.MissingDependencyError("onnxruntime", "onnx", "Running an .onnx file")
    assert error.exit_code == 1
    assert "pip install 'edgevit[onnx]'" in str(error)
    assert "'onnxruntime'" in str(error)
    several = errors.MissingDependencyError(["keras", "tensorflow"], "tensorflow", "An export")
    assert "needs the packages 'keras', 'tensorflow', which are not installed" in str(several)


@pytest.mark.parametrize(
    ("version", "said"),
    [((3, 13), "Run: pip install 'edgevit[tensorflow]'"), ((3, 14), "Take Python 3.11 to 3.13")],
)
def test_where_tensorflow_has_no_wheel_another_python_is_named(monkeypatch, version, said):
    monkeypatch.setattr("sys.version_info", version)
    missing = errors.MissingDependencyError(["keras", "tensorflow"], "tensorflow", "An export")
    assert said in str(missing)
    runtime = errors.MissingDependencyError("ai_edge_litert", "litert", "This")
    assert "Run: pip install 'edgevit[litert]'" in str(runtime)

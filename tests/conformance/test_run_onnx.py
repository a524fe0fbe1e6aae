"""tools/run_onnx.py: an ONNX file is used with numpy, Pillow and onnxruntime alone."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevit.core.class_names import CIFAR10_CLASSES
from edgevit.formats.registry import open_session
from programs import run_program

TOOL = Path(__file__).parents[2] / "tools" / "run_onnx.py"
LARGEST = 75


def code_lines(source: str) -> int:
    """Lines that are neither blank nor comment nor docstring."""
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (
            tokenize.COMMENT,
            tokenize.NL,
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.ENDMARKER,
        ):
            held.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(
            node
        ):
            held -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(held)


@pytest.mark.parametrize("kind", ["raw", "bare"])
def test_the_tool_names_the_same_class_as_a_session(exported, bare_file, pictures, kind):
    path = exported["onnx-float32"] if kind == "raw" else bare_file
    found = run_program("tell_imports", TOOL, path, *pictures, PYTHONPATH="")
    assert found.returncode == 0, found.stderr
    *lines, imported = found.stdout.splitlines()
    images = np.stack([np.asarray(Image.open(picture)) for picture in pictures])
    with open_session(path) as session:
        best = np.argmax(session.run(images)["logits"], axis=-1)
    for line, picture, index in zip(lines, pictures, best, strict=True):
        assert line.startswith(f"{picture}: {CIFAR10_CLASSES[index]} ")
    packages = set(imported.removeprefix("imported: ").split())
    assert {"numpy", "PIL", "onnxruntime"} <= packages
    assert packages.isdisjoint({"edgevit", "tensorflow", "keras", "tf2onnx", "onnx", "click"})


def test_the_tool_without_arguments_says_how_it_is_used():
    found = run_program("tell_imports", TOOL, PYTHONPATH="")
    assert found.returncode == 1
    assert found.stderr.strip() == "usage: run_onnx.py FILE.onnx IMAGE... [NAME=FILE.npy...]"


def test_the_tool_is_short_enough_to_be_copied():
    assert 20 < code_lines(TOOL.read_text()) <= LARGEST


def test_lines_of_code_are_counted_without_blanks_comments_and_docstrings():
    source = '"""Doc.\n\nMore."""\n\n# comment\nx = 1  # two\n\n\ndef f():\n    """Doc."""\n'
    source += '    return """a\n\nb"""\n'
    assert code_lines(source) == 5

"""tools/run_onnx.py and .mjs take what a file's signature says, and leave probabilities alone."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from conformance.test_run_onnx import TOOL as PYTHON_TOOL
from conformance.test_run_onnx_web import TOOL as NODE_TOOL
from conformance.test_run_onnx_web import needs_modules, run_node
from PIL import Image

from edgevit.verbs.export import export
from kinds.float_model import run_keras
from kinds.zoo import KINDS, built
from programs import run_program

# gray: one channel; rgba: four; softmax: probabilities; sigmoid_binary: one number.
NAMES = ("gray", "rgba", "softmax", "sigmoid_binary", "picture_and_vector")


def expected_shares(name: str, raw: dict) -> np.ndarray:
    """What the float model says, as probabilities of classes. float B C, C >= 2."""
    (scores,) = run_keras(KINDS[name], built(name), raw).values()
    if name == "softmax":
        return scores
    if name == "sigmoid_binary":
        return np.concatenate([1 - scores, scores], axis=-1)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@pytest.fixture(scope="module", params=NAMES)
def case(request, tmp_path_factory):
    """(file, arguments of the first sample, its picture, shares of all classes)"""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    path = export(built(name), "onnx-float32", folder, **KINDS[name].arguments).artifact.path
    raw = KINDS[name].draw(1, 31)
    pixels, *rest = raw.values()
    picture = folder / "picture.png"
    Image.fromarray(pixels[0, ..., 0] if pixels.shape[-1] == 1 else pixels[0]).save(picture)
    named = dict(zip(list(raw)[1:], rest, strict=True))
    for key, values in named.items():
        np.save(folder / f"{key}.npy", values[0])
        (folder / f"{key}.json").write_text(json.dumps(values[0].tolist()))
    return path, folder, list(named), picture, expected_shares(name, raw)[0]


def assert_ranked(line: str, shares: np.ndarray) -> None:
    """The line names classes by number, or no and yes, with these probabilities."""
    found = [(label, float(share)) for label, share in re.findall(r"(\w+) ([\d.]+) %", line)]
    order = np.argsort(-shares)[: len(found)]
    names = ["no", "yes"] if len(shares) == 2 and found[0][0] in ("no", "yes") else None
    assert [label for label, _ in found] == [names[k] if names else str(k) for k in order]
    np.testing.assert_allclose([share for _, share in found], 100 * shares[order], atol=0.11)


def test_the_python_script_takes_any_channels_and_leaves_probabilities_alone(case):
    path, folder, named, picture, shares = case
    others = [f"{key}={folder / key}.npy" for key in named]
    found = run_program("tell_imports", PYTHON_TOOL, path, picture, *others, PYTHONPATH="")
    assert found.returncode == 0, found.stderr
    assert_ranked(found.stdout.splitlines()[0].partition(": ")[2], shares)
    if named:
        alone = run_program("tell_imports", PYTHON_TOOL, path, picture, PYTHONPATH="")
        assert (alone.returncode, "NAME=FILE.npy" in alone.stderr) == (1, True)


@needs_modules
def test_the_script_for_browsers_does_so_too(case):
    path, folder, named, picture, shares = case
    others = [f"{key}={folder / key}.json" for key in named]
    found = run_node(NODE_TOOL, path, "--check", picture, *others)
    assert found.returncode == 0, found.stderr + found.stdout
    verdict, line = found.stdout.splitlines()
    assert "pass" in verdict
    assert_ranked(line.partition(": ")[2], shares)
    if named:
        alone = run_node(NODE_TOOL, path, picture)
        assert (alone.returncode, named[0] in alone.stderr) == (2, True)

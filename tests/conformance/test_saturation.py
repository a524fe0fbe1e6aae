"""Sums of 8-bit products on x86 processors that have AVX2 and no VNNI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevit.cli.console import verdict_lines
from edgevit.core.parity import SYNTHETIC, OutputParity, ParityReport, Verdict
from edgevit.core.signature import Role
from edgevit.core.tolerance import ALL_8BIT
from edgevit.formats.registry import open_session, read_metadata
from edgevit.verbs.export import export
from edgevit.verbs.verify import verify
from edgevit.verification import saturation

QEMU = shutil.which("qemu-x86_64")
HERE = OutputParity("scores", 16, 1.0, 0.4, 4.0, role=Role.LOGITS)


def report(relative: float, runtime: str = "onnxruntime-cpu") -> ParityReport:
    return ParityReport(runtime, (replace(HERE, relative=relative),), SYNTHETIC)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """A file whose first convolution reaches the ends of 16 bits: white pixels, even weights."""
    import keras

    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3), name="images"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 3, activation="relu", name="first"),
            layers.Conv2D(16, 3, activation="relu", name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ],
        name="bright",
    )
    for name in ("first", "second"):
        layer = model.get_layer(name)
        kernel = rng.uniform(0.8, 1.0, layer.kernel.shape) * rng.choice((-1, 1), 16, p=(0.2, 0.8))
        layer.kernel.assign(kernel)
    images = rng.integers(0, 256, (40, 16, 16, 3), np.uint8)
    folder = tmp_path_factory.mktemp("bright")
    return export(model, "onnx-int8", folder, calibration=images, scaling="raw", accept_loss=True)


def test_an_export_says_where_its_file_may_be_far_off(outcome):
    (caveat,) = outcome.caveats
    assert "without VNNI" in caveat
    assert "--x86 any" in caveat
    assert caveat in outcome.artifact.manifest.steps


def test_wide_sums_are_those_of_this_processor(outcome):
    """Not on one with AVX2 alone, where the first is the one that saturates."""
    path = outcome.artifact.path
    inputs = read_metadata(path).reference.synthetic.first(4).inputs
    found = []
    for runtime in ("onnxruntime", "onnxruntime-wide"):
        with open_session(path, runtime) as session:
            assert session.runtime == {"onnxruntime": "onnxruntime-cpu"}.get(runtime, runtime)
            found.append(session.run(inputs))
    if outcome.verdict == "pass":
        for name, values in found[0].items():
            np.testing.assert_array_equal(values, found[1][name])


@pytest.mark.parametrize(
    ("relative", "runtime", "told"),
    [(0.4, "onnxruntime-cpu", True), (0.11, "onnxruntime-cpu", False), (0.4, "tract", False)],
)
def test_saturation_is_the_cause_where_wider_sums_halve_the_error(
    relative, runtime, told, outcome, monkeypatch
):
    reference = read_metadata(outcome.artifact.path).reference
    asked = []

    def compare(session, found):
        asked.append((session.runtime, len(found.synthetic)))
        return report(0.1, "onnxruntime-wide")

    monkeypatch.setattr(saturation, "compare", compare)
    path = outcome.artifact.path
    line = saturation.find_saturation(path, reference, [report(relative, runtime)])
    assert bool(line) is told
    wanted = [("onnxruntime-wide", len(reference.synthetic))]
    assert asked == (wanted if runtime == "onnxruntime-cpu" else [])  # it need not be installed
    if told:
        assert "mean error 40 % of the deviation, 10 % with wider sums" in line
        assert 'session.x64quantprecision to "1"' in line


def test_a_file_of_another_format_is_not_asked():
    assert saturation.find_saturation(Path("net.tflite"), None, [report(0.9)]) == ""


@pytest.mark.parametrize("cause", ["", "this processor saturates: set an option"])
def test_the_cause_says_what_helps_and_more_samples_do_not(cause):
    lines = verdict_lines("net", ALL_8BIT, [report(0.9)], Verdict.LOSSY, cause)
    assert ("more calibration samples" in lines[-1]) is not bool(cause)
    assert lines[-1].startswith(f"net: {cause or 'right, but lossy'}")


def test_a_file_that_is_off_because_sums_saturate_did_not_change(outcome):
    found = verify(outcome.artifact.path)
    moved = tuple(
        replace(
            run, outputs=tuple(replace(o, columns=(9.0,) * len(o.columns)) for o in run.outputs)
        )
        for run in found.reports
    )
    assert "it changed" in replace(found, reports=moved).drift
    assert replace(found, reports=moved, saturation="sums saturate").drift == ""


@pytest.mark.long
@pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64: apt-get install qemu-user")
def test_a_haswell_says_why_it_is_far_off(outcome):
    command = [QEMU, "-cpu", "Haswell", sys.executable, "-m", "edgevit"]
    answer = subprocess.run(
        [*command, "verify", str(outcome.artifact.path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert answer.returncode == 1, answer.stderr
    assert "they saturate (x86 without VNNI)" in answer.stdout
    assert "it changed" not in answer.stdout

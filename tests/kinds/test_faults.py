"""Planted faults reach the outputs, the files stay sealed, and a verification notices them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgevit.core.seal import find_damage
from edgevit.formats.registry import TARGETS
from edgevit.verbs.verify import verify
from kinds import faults_in_layers
from kinds.faults import FAULTS, SUBJECTS, count_found, graft, plant, write_sealed
from kinds.faults_in_layers import FINE_KINDS
from kinds.trial import run_export

FLOATS = ("tflite-float32", "onnx-float32")


@pytest.fixture(scope="module", params=FLOATS)
def sound(request, tmp_path_factory) -> Path:
    """A segmenter's file, float32."""
    folder = tmp_path_factory.mktemp("sound")
    outcome = run_export("segment_resize", TARGETS[request.param], folder)
    assert outcome.artifact is not None
    return outcome.artifact.path


@pytest.mark.parametrize(
    "fault",
    ["channel scaled by 1.05", "two channels swapped", "red read as blue", "activation dropped"],
)
def test_a_planted_fault_is_sealed_and_found(fault, sound, tmp_path):
    out = tmp_path / f"faulty{sound.suffix}"
    assert plant(sound, out, fault)
    assert find_damage(out) == ""
    assert str(verify(out).verdict) == "fail"


def test_another_resize_is_found(sound, tmp_path):
    out = tmp_path / f"faulty{sound.suffix}"
    assert plant(sound, out, "nearest instead of bilinear")
    assert str(verify(out).verdict) == "fail"


def test_a_file_with_the_documents_of_itself_passes(sound, tmp_path):
    out = tmp_path / f"grafted{sound.suffix}"
    graft(sound, sound, out)
    assert find_damage(out) == ""
    assert str(verify(out).verdict) == "pass"


def test_a_file_without_a_place_for_a_fault_stays_sound(sound, tmp_path):
    out = tmp_path / f"faulty{sound.suffix}"
    assert not plant(sound, out, "wrong zero point")
    assert not plant(sound, out, "two outputs swapped")
    assert not out.exists()


@pytest.fixture(scope="module")
def rounded(tmp_path_factory) -> Path:
    """A regressor's int8 file."""
    folder = tmp_path_factory.mktemp("rounded")
    outcome = run_export("regression", TARGETS["tflite-int8"], folder)
    assert outcome.artifact is not None
    return outcome.artifact.path


@pytest.mark.parametrize("fault", ["channel zeroed", "channel x1.5"])
def test_gross_damage_of_an_int8_file_is_found_by_what_the_file_lost_before(
    fault, rounded, tmp_path
):
    out = tmp_path / "faulty.tflite"
    (kind,) = (kind for kind in FINE_KINDS if kind[0] == fault)
    faults_in_layers.plant(rounded, out, 0, (kind,), seed=0)
    write_sealed(out, out.read_bytes())
    found = verify(out, runtime="litert")
    assert str(found.verdict) == "fail"
    assert "since the file was written: it changed" in found.drift
    assert found.manifest is not None
    before = replace(found, manifest=replace(found.manifest, traces=None))  # of an older file
    assert "when the file was written: it changed" in before.drift
    assert replace(before, own_runtimes=False).drift == ""  # others round otherwise
    assert verify(rounded, runtime="litert").drift == ""


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", [*FLOATS, "tflite-int8", "onnx-int8"])
@pytest.mark.parametrize("kind", [kind for kinds in SUBJECTS.values() for kind in kinds])
def test_no_large_fault_is_let_through(kind, target, tmp_path):
    rows = list(count_found(tmp_path, [kind], [target]))
    assert {row.fault.removeprefix("model: ") for row in rows} <= {*FAULTS, "none"}
    large = 1e-3 if target in FLOATS else 0.5  # of the deviation; less is what 8 bits may cost
    assert [row for row in rows if row.effect >= large and not row.found] == []

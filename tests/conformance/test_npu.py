"""Files for Arm's Ethos-U, compiled by Vela, from the command line and from Python."""

from __future__ import annotations

import json

import pytest

from edgevit.base.errors import MissingDependencyError, ModelFileError, UnknownNameError
from edgevit.formats.ethos_u.placement import NPUS, PlacedOperator, Placement
from edgevit.formats.ethos_u.vela import compile_for_npu
from edgevit.verification.audit import inspect


@pytest.fixture(scope="module")
def vela():
    pytest.importorskip("ethosu", reason="pip install 'edgevit[npu]'")


@pytest.mark.parametrize("npu", ["ethos-u55-128", "ethos-u65-256", "ethos-u85-256"])
def test_nothing_of_the_npu_s_file_stays_on_the_cpu(vela, exported, npu, tmp_path):
    path = exported["tflite-int8-npu"]
    found = compile_for_npu(path, npu, tmp_path)
    assert not found.on_cpu
    assert found.npu_cycles > 0
    assert found.total_cycles >= found.npu_cycles
    assert sum(row.cycles for row in found.on_npu) == pytest.approx(found.total_cycles, rel=0.05)
    assert found.sram_bytes > 0
    assert (tmp_path / f"{path.stem}_vela.tflite").stat().st_size > found.weights_bytes


def test_of_the_plain_int8_file_means_and_the_resize_stay_and_vela_says_why(vela, exported):
    path = exported["tflite-int8"]
    found = compile_for_npu(path, "ethos-u85-256")
    kinds = [row.operator for row in found.on_cpu]
    assert kinds.count("Mean") == inspect(path).ops["MEAN"] - 1  # the pool's is over places
    assert kinds.count("ResizeBilinear") == 1
    (mean, _), *_ = found.count_reasons().items()
    assert mean[0] == "Mean"
    assert "depth" in mean[1]
    norms = {row.layer for row in found.on_cpu if row.operator == "Mean"}
    assert any("stage1_block1/norm" in layer for layer in norms)


def test_inspect_tells_where_operators_run(vela, command, exported):
    arguments = ("inspect", exported["tflite-int8"], "--npu", "ethos-u85-256")
    said = command(*arguments)
    assert said.code == 0, said.err
    assert "on the CPU:" in said.out
    assert "tflite-int8-npu" in said.out
    document = json.loads(command(*arguments, "--json").out)
    assert document["operators_on_cpu"] == sum(not row["on_npu"] for row in document["operators"])
    assert document["operators_on_cpu"] > 1
    assert document["npu_cycles"] > 0


def test_a_float_file_is_told_what_to_export(vela, exported):
    with pytest.raises(ModelFileError, match="tflite-int8-npu"):
        compile_for_npu(exported["tflite-float32"], "ethos-u85-256")


def test_an_onnx_file_is_told_what_to_export(exported):
    with pytest.raises(ModelFileError, match="tflite-int8-npu"):
        compile_for_npu(exported["onnx-int8"], "ethos-u85-256")


def test_an_unknown_npu_is_refused_with_the_list(exported):
    with pytest.raises(UnknownNameError, match=r"ethos-u55-128.*ethos-u85-2048"):
        compile_for_npu(exported["tflite-int8"], "ethos-u85")
    assert len(NPUS) == 11


def test_a_damaged_file_is_not_compiled(exported, command, tmp_path):
    data = bytearray(exported["tflite-int8-npu"].read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "damaged.tflite"
    path.write_bytes(data)
    answer = command("inspect", path, "--npu", "ethos-u85-256")
    assert answer.code in (1, 2)
    assert "damaged.tflite" in answer.error
    assert "ethos" not in answer.error  # neither Vela nor its extra was asked for


def test_a_missing_vela_names_the_extra(exported, monkeypatch):
    monkeypatch.setattr("edgevit.base.packages.is_importable", lambda name: name != "ethosu")
    with pytest.raises(MissingDependencyError, match=r"edgevit\[npu\]"):
        compile_for_npu(exported["tflite-int8"], "ethos-u85-256")


def test_a_vela_that_fails_is_one_line(exported, monkeypatch, tmp_path):
    from edgevit.base.errors import RuntimeFailure
    from edgevit.formats.ethos_u import vela

    monkeypatch.setattr(vela, "NEEDS", ())
    monkeypatch.setattr(vela, "_MAIN", "raise ValueError('no such tensor')")
    with pytest.raises(RuntimeFailure, match=r"cannot compile it .*ValueError: no such tensor"):
        compile_for_npu(exported["tflite-int8"], "ethos-u85-256")


def test_reasons_are_counted_without_sizes():
    operators = tuple(
        PlacedOperator("Mean", f"norm{n}", "", False, 0, f"IFM: 1, {n}, 2: over depth")
        for n in range(3)
    )
    npu = PlacedOperator("Conv2D", "stem", "stem", True, 5, "")
    found = Placement("a", "ethos-u55-32", "", "", "", (*operators, npu), 5, 10, 1000, 1, 1, 1)
    assert found.count_reasons() == {("Mean", "over depth"): 3}
    assert found.milliseconds == 10

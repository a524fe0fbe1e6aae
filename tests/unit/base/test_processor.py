"""The processor as the system describes it."""

from __future__ import annotations

import platform

import pytest

from edgevit.base import processor
from edgevit.base.processor import describe_processor


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    """Stands in for what Linux says: (text) -> None."""

    def write(text: str) -> None:
        (tmp_path / "cpuinfo").write_text(text)
        monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")

    return write


def test_x86_names_its_model_and_its_flags(cpuinfo):
    cpuinfo("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t\t: fpu avx2 amx_bf16\n")
    found = describe_processor()
    assert found.model == "Some CPU @ 3 GHz"
    assert found.flags == {"fpu", "avx2", "amx_bf16"}


def test_arm_names_features(cpuinfo):
    cpuinfo("processor\t: 0\nFeatures\t: fp asimd i8mm bf16\nCPU part\t: 0xd40\n")
    assert describe_processor().flags == {"fp", "asimd", "i8mm", "bf16"}


def test_a_system_without_the_file_says_its_architecture(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(platform, "processor", lambda: "")
    found = describe_processor()
    assert (found.model, found.flags) == (platform.machine(), frozenset())

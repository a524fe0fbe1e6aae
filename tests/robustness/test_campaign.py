"""Damaged and crafted inputs over all verbs: nothing breaks, and nothing damaged passes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevit.base.documents import read_object
from edgevit.base.errors import InputError
from edgevit.core.seal import find_damage
from edgevit.formats.registry import read_metadata
from edgevit.sweeps.plan import read_plan
from edgevit.verbs.cell import OPTION_NAMES
from robustness import mutations
from robustness.base import find_light_base
from robustness.cases import PLAN

TESTS = Path(__file__).parents[1]


def run_campaign(*arguments: object, minutes: float) -> str:
    found = subprocess.run(
        [sys.executable, "-m", "robustness.campaign", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])},
        capture_output=True,
        text=True,
        timeout=60 * minutes,
    )
    assert found.returncode == 0, found.stdout + found.stderr[-2000:]
    return found.stdout


def test_forty_damaged_inputs_break_nothing_and_none_passes():
    table = run_campaign("--light", "--cases", 40, "--first", 1000, minutes=4)
    assert "all                                    40" in table


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_thousand_damaged_inputs_break_nothing_and_none_passes(tmp_path):
    run_campaign("--base", tmp_path, "--cases", 1000, "--first", 5000, minutes=110)


@pytest.mark.parametrize("target", ["onnx-float32", "tflite-int8"])
def test_every_damaged_bit_of_a_marker_is_damage(tmp_path, target):
    source = find_light_base()[0][target]
    for seed in range(40):
        path = tmp_path / source.name
        data = source.read_bytes()
        path.write_bytes(mutations.damage_marker(np.random.default_rng(seed), data))
        assert "its seal is missing" in find_damage(path)
    path.write_bytes(mutations.strip_seal(source.read_bytes()))
    assert find_damage(path) == ""  # another tool's


class Drawn:
    """What mutations ask of a generator of numpy, drawn by hypothesis, which makes it smaller."""

    def __init__(self, data: st.DataObject):
        self._data = data

    def integers(self, low: int, high: int | None = None, size: int | None = None) -> Any:
        """As there."""
        low, high = (0, low) if high is None else (low, high)
        values = st.integers(int(low), int(high) - 1)
        if size is None:
            return self._data.draw(values)
        return np.array(self._data.draw(st.lists(values, min_size=size, max_size=size)))

    def random(self) -> float:
        """As there."""
        return self._data.draw(st.integers(0, 99)) / 100

    def bytes(self, size: int) -> bytes:
        """As there; the content of noise is no matter."""
        return hashlib.shake_128(bytes([self._data.draw(st.integers(0, 9))])).digest(size)


SOURCES = {
    "json": (b'{"version": 1, "rows": [{"name": "a", "time": 2.5}], "note": null}', mutations.JSON),
    "toml": (PLAN, mutations.TOML),
    "onnx": (find_light_base()[0]["onnx-float32"].read_bytes(), mutations.ONNX),
    "tflite": (find_light_base()[0]["tflite-int8"].read_bytes(), mutations.TFLITE),
}
READERS: dict[str, Callable[[Path], object]] = {
    "json": lambda path: read_object(path, "the document"),
    "toml": lambda path: read_plan(path, OPTION_NAMES),
    "onnx": read_metadata,
    "tflite": read_metadata,
}


def _refusal_of(path: Path, read: Callable[[Path], object]) -> str:
    try:
        read(path)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", SOURCES)
def test_a_reader_of_a_mutated_document_returns_or_says_one_line(tmp_path_factory, kind):
    """The campaign's own mutations, a few of each kind, with cases that shrink."""
    data, own = SOURCES[kind]
    path = tmp_path_factory.mktemp(kind) / f"a.{kind}"

    @settings(derandomize=True, max_examples=25, deadline=None, database=None)
    @given(st.data(), st.sampled_from((*own, *mutations.BYTES)))
    def read(drawn, mutate):
        try:
            changed = mutate(Drawn(drawn), data)
        except ValueError:  # cut so that it cannot be taken apart
            return
        path.write_bytes(changed)
        said = _refusal_of(path, READERS[kind])
        assert "\n" not in said
        assert len(said) < 2000

    read()

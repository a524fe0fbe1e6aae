"""Observers that saw parts of a sample are one that saw all of it."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from edgevit.base.errors import ExportError
from edgevit.quantization import observer as observer_module
from edgevit.quantization.observer import Observer


def watching() -> Observer:
    observer = Observer(histograms=True)
    observer.averaged = observer.divided = frozenset({"a"})
    return observer


@pytest.mark.parametrize("at_once", [1, 100, 1 << 15])
def test_what_two_saw_is_what_one_sees_that_counts_image_by_image(monkeypatch, at_once):
    values = np.random.default_rng(0).normal(size=(9, 4, 4, 3)).astype(np.float32)
    whole, first, second = watching(), watching(), watching()
    for number, value in enumerate(values):
        monkeypatch.setattr(observer_module, "AT_ONCE", 1)
        whole.see("a", value)
        whole.see("b" if number % 2 else "c", 10 * value)
        monkeypatch.setattr(observer_module, "AT_ONCE", at_once)
        part = first if number < 2 else second
        part.see("a", value)
        part.see("b" if number % 2 else "c", 10 * value)
    first.absorb(second)
    found, expected = first.observations(), whole.observations()
    assert found.keys() == expected.keys()
    for name, one in expected.items():
        other = found[name]
        assert (other.low, other.high, other.means) == (one.low, one.high, one.means)
        assert other.histogram.counts.tolist() == one.histogram.counts.tolist()
        if one.channels is not None:
            for part in fields(one.channels):
                sides = (getattr(side.channels, part.name) for side in (one, other))
                np.testing.assert_array_equal(*sides)


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_value_that_is_no_number_is_named_however_late_it_is_counted(name):
    observer = watching()
    for value in (np.nan, 1.0):
        observer.see(name, np.full((1, 3), value, np.float32))
    with pytest.raises(ExportError, match=f"'{name}' is not finite"):
        observer.observations()

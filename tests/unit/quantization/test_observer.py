"""Observers that saw parts of a sample are one that saw all of it."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from edgevit.quantization.observer import Observer


def watching() -> Observer:
    observer = Observer(histograms=True)
    observer.averaged = observer.divided = frozenset({"a"})
    return observer


def test_what_two_saw_is_what_one_sees():
    values = np.random.default_rng(0).normal(size=(9, 4, 4, 3)).astype(np.float32)
    whole, first, second = watching(), watching(), watching()
    for number, value in enumerate(values):
        for observer in (whole, first if number < 2 else second):
            observer.see("a", value)
            observer.see("b" if number % 2 else "c", 10 * value)
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

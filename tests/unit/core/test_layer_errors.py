"""The order in which layers are suspected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgevit.core.layer_errors import (
    NOISY_DB,
    NOTABLE_DB,
    SUSPECT_DB,
    TOGETHER_DB,
    LayerDiff,
    LayerError,
    rank_layers,
)

TOTAL = {"total_sqnr_db": 20.0, "total_cosine": 1.0, "saturated": None, "clipped": None}


def row(name: str, excess_db: float) -> LayerError:
    return LayerError(
        name, "Dense", name, "Gemm", 0.1, 20.0, 1.0, excess_db, 0, 20.0, 1.0, None, None
    )


@pytest.mark.parametrize(
    ("excess", "wanted"),
    [
        ([1.0, 9.0, 5.0], "bca"),  # nobody is suspect: by excess alone
        ([1.0, 60.0, 30.0], "bca"),  # one is far beyond the rest
        ([10.0, SUSPECT_DB + 1, SUSPECT_DB + TOGETHER_DB], "bca"),  # a consequence behind it
        ([SUSPECT_DB + 5, SUSPECT_DB + TOGETHER_DB + 6, 0.0], "bac"),  # too far behind the worst
        ([NOTABLE_DB + 1, SUSPECT_DB + 1, 0.0], "abc"),  # not suspect alone, but its cause
        ([NOTABLE_DB - 1, SUSPECT_DB + 1, 0.0], "bac"),
        ([400.0, 400.0, 400.0], "abc"),  # no numbers any more from the first on
    ],
    ids=str,
)
def test_the_earlier_of_about_equal_suspects_comes_first(excess, wanted):
    rows = [row(name, value) for name, value in zip("abc", excess, strict=True)]
    assert "".join(found.layer for found in rank_layers(rows)) == wanted


@pytest.mark.parametrize(
    ("excess", "wanted"),
    [
        ([NOTABLE_DB + 1, SUSPECT_DB - 1, 0.0], ""),
        ([NOTABLE_DB + 1, SUSPECT_DB + 1, 0.0], "ab"),
        ([NOTABLE_DB - 1, SUSPECT_DB + 1, SUSPECT_DB + 2], "bc"),
        ([NOTABLE_DB + 1, SUSPECT_DB + TOGETHER_DB + 1, 0.0], "b"),
    ],
    ids=str,
)
def test_suspects_are_beyond_the_limit_or_a_likely_cause(excess, wanted):
    rows = tuple(row(name, value) for name, value in zip("abc", excess, strict=True))
    found = LayerDiff("f", "0", "m", "t", "r", 1, "drawn", rows, (), {})
    assert "".join(suspect.layer for suspect in found.suspects) == wanted


@pytest.mark.parametrize(
    ("decibels", "wanted"),
    [
        ([NOISY_DB + 1, None, NOISY_DB], ""),
        ([NOISY_DB - 1, None, NOISY_DB - 5], "ca"),
    ],
    ids=str,
)
def test_noisy_layers_add_most_error_first(decibels, wanted):
    rows = tuple(
        replace(row(name, 0.0), sqnr_db=value, relative=10 ** (-(value or 400) / 20))
        for name, value in zip("abc", decibels, strict=True)
    )
    found = LayerDiff("f", "0", "m", "t", "r", 1, "drawn", rows, (), {})
    assert "".join(noisy.layer for noisy in found.noisy) == wanted


def test_rows_have_the_columns_of_the_whole_file():
    counted = replace(row("a", 1.0), saturated=0.5, clipped=0.25)
    found = LayerDiff("f", "", "m", "tflite-mixed", "r", 1, "", (counted, row("b", 2.0)), (), {})
    (shown,) = found.list_rows(found.layers[1:])
    assert (shown["layer"], shown["saturated"], shown["beyond dB"]) == ("b", "", "+2.0")
    assert found.list_rows(found.layers)[0]["saturated"] == "50.00 %"
    floats = replace(found, layers=found.layers[1:])
    assert "saturated" not in floats.list_rows(floats.layers)[0]


def test_no_layers_have_no_order():
    assert rank_layers([]) == []

"""``edgevit.benchmark``: a benchmark from Python."""

from __future__ import annotations

import pytest

import edgevit
from edgevit.base.errors import ConfigError, MissingToolError
from edgevit.bench.products import write_product
from edgevit.core.format import Format
from edgevit.core.target import Precision


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """Two matrix products, one with four times the work."""
    folder = tmp_path_factory.mktemp("products")
    paths = [folder / "small.tflite", folder / "large.tflite"]
    for path, rows in zip(paths, (64, 256), strict=True):
        write_product(path, Format.TFLITE, Precision.FLOAT32, rows, 128, 128)
    return paths


def test_files_are_measured_side_by_side_against_the_first(products):
    told = []
    result = edgevit.benchmark(
        products, rounds=3, watch=lambda status, *numbers: told.append(status)
    )
    assert [row.case.file for row in result.rows] == [str(path) for path in products]
    assert result.reference == 0
    assert result.rows[1].median_ms.middle > 1.5 * result.rows[0].median_ms.middle
    assert told[-1] == "measuring"


def test_one_file_has_no_reference_and_another_may_be_named(products):
    small, large = products
    assert edgevit.benchmark(small, rounds=1).reference is None
    result = edgevit.benchmark(large, rounds=1, against=small)
    assert [row.case.file for row in result.rows] == [str(small), str(large)]
    assert result.reference == 0


def test_a_roofline_stands_beside_the_rows(products):
    result = edgevit.benchmark(products[0], rounds=1, roofline=True)
    assert result.roofline is not None
    assert len(result.rows) == 1


def test_missing_valgrind_is_said_before_anything_is_measured(products, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    told = []
    with pytest.raises(MissingToolError, match="valgrind"):
        edgevit.benchmark(products[0], instructions=True, watch=lambda *news: told.append(news))
    assert told == []


def test_no_rounds_are_refused(products):
    with pytest.raises(ConfigError, match="at least one round"):
        edgevit.benchmark(products[0], rounds=0)

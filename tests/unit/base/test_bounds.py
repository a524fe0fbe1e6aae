"""What a file may ask for is checked before anything of it is read or allocated."""

from __future__ import annotations

import os

import pytest

from edgevit.base import bounds
from edgevit.base.documents import parse_json, read_json, read_text
from edgevit.base.errors import DataError, ModelFileError
from edgevit.base.printing import printable


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert bounds.read_bounded(path, 5, DataError) == b"12345"
    with pytest.raises(DataError, match="5 bytes, larger than the limit of 4"):
        bounds.read_bounded(path, 4, DataError)
    with pytest.raises(DataError, match="is a folder"):
        bounds.read_bounded(tmp_path, 5, DataError)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for odd in ("pipe", "endless"):
        with pytest.raises(DataError, match="a device, a pipe or a socket"):
            bounds.read_bounded(tmp_path / odd, 5, DataError)
    with pytest.raises(ModelFileError, match="cannot be read"):
        bounds.read_bounded(tmp_path / "nothing", 5, ModelFileError)


@pytest.mark.parametrize(
    ("shape", "held", "right"),
    [((2, 3), 24, True), ((2, 3), 23, False), ((10**12,), 100, False), ((-1,), 100, False)],
)
def test_a_header_promises_no_more_than_is_there(shape, held, right):
    if right:
        bounds.check_array("a", shape, 4, held, DataError)
        return
    with pytest.raises(DataError, match="declares the shape"):
        bounds.check_array("a", shape, 4, held, DataError)


def test_what_is_packed_too_well_is_refused_and_blank_masks_are_not():
    bounds.check_unpacked("mask", 1_000, 1_000_000, DataError)
    with pytest.raises(DataError, match="would unpack"):
        bounds.check_unpacked("bomb", 3_000_000, 3 << 30, DataError)


def test_half_of_the_free_memory_is_the_limit(monkeypatch):
    monkeypatch.setattr(bounds, "free_memory", lambda: 1000)
    bounds.check_memory("a", 500, DataError)
    with pytest.raises(DataError, match="would take"):
        bounds.check_memory("a", 501, DataError)


def test_this_machine_says_how_much_memory_is_free():
    assert 1 << 26 < bounds.free_memory() < 1 << 50


@pytest.mark.parametrize("text", ["[" * 150 + "]" * 150, '{"a":' * 150 + "1" + "}" * 150])
def test_documents_may_be_nested_a_little(text):
    parse_json(text, "x", "it")


@pytest.mark.parametrize("depth", [201, 900, 100_000])
@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_documents_that_are_nested_too_deeply_are_damaged(opened, closed, depth):
    with pytest.raises(ModelFileError, match="it is damaged") as caught:
        parse_json(opened * depth + "1" + closed * depth, "x", "it")
    assert len(str(caught.value)) < 250


def test_a_document_is_utf8_with_or_without_a_mark(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa9"}')
    assert read_json(path) == {"a": "é"}
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_text(path)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b\tc\nd é 猫", "a b\tc\nd é 猫"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\x9b2J\x7f\r", r"\x9b2J\x7f\x0d"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("\u202egpj.exe\ud800", r"\u202egpj.exe\ud800"),
    ],
)
def test_a_terminal_is_given_nothing_that_it_obeys(text, shown):
    assert printable(text) == shown
    printable(text).encode()

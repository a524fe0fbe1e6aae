"""Arrays that are kept between runs: whole, bounded, and never a damaged one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from edgevit.base.store import Store, cache_folder

ARRAYS = {"logits": np.arange(6, dtype=np.float32).reshape(2, 3), "a/b: ö": np.ones((2, 1))}


def test_what_is_kept_is_read_by_name_and_bit_by_bit(tmp_path):
    store = Store(tmp_path / "new")
    assert store.read("key") is None
    store.write("key", ARRAYS)
    found = store.read("key")
    assert list(found) == list(ARRAYS)
    assert all(np.array_equal(found[name], values) for name, values in ARRAYS.items())


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-1], lambda d: b"", lambda d: d[:99] + b"x" + d[100:]]
)
def test_a_damaged_entry_is_gone(tmp_path, damage):
    store = Store(tmp_path)
    store.write("key", ARRAYS)
    (path,) = store.entries()
    path.write_bytes(damage(path.read_bytes()))
    assert store.read("key") is None
    assert store.entries() == []


def _forge(data: bytes, body: bytes) -> bytes:
    return hashlib.sha256(body).digest() + body


@pytest.mark.parametrize(
    "forged",
    [
        lambda data: _forge(data, b"no arrays"),
        lambda data: _forge(data, data[32:-9]),
        lambda data: _forge(data, data[32:].replace(b"arr_1", b"arr_9")),
    ],
)
def test_a_forged_entry_whose_digest_is_right_is_gone(tmp_path, forged):
    store = Store(tmp_path)
    store.write("key", ARRAYS)
    (path,) = store.entries()
    path.write_bytes(forged(path.read_bytes()))
    assert store.read("key") is None
    assert store.entries() == []


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/dev/zero"), os.mkfifo])
def test_a_device_or_a_pipe_in_an_entrys_place_is_gone(tmp_path, make):
    make(tmp_path / "key.kept")
    assert Store(tmp_path).read("key") is None
    assert list(tmp_path.iterdir()) == []


def test_the_entry_that_was_not_read_for_longest_makes_room(tmp_path):
    values = {"x": np.zeros(100, np.float32)}
    store = Store(tmp_path)
    store.write("one", values)
    size = store.size_bytes
    store = Store(tmp_path, limit_bytes=4 * size + 3)
    for age, key in enumerate(("two", "three", "four")):
        store.write(key, values)
        os.utime(store.folder / f"{key}.kept", (1000 + age, 1000 + age))
    os.utime(store.folder / "one.kept", (0, 0))
    store.read("one")
    store.write("five", values)
    assert {path.stem for path in store.entries()} == {"one", "three", "four", "five"}
    store.write("large", {"x": np.zeros(1000, np.float32)})
    assert store.read("large") is None


def test_a_folder_that_cannot_be_used_keeps_nothing_and_stops_nobody(tmp_path):
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file")
    store.write("key", ARRAYS)
    assert store.read("key") is None
    assert store.clear() == 0


def test_the_folder_is_the_one_that_is_named(monkeypatch):
    monkeypatch.setenv("EDGEVIT_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("EDGEVIT_CACHE")
    assert cache_folder().name == "edgevit"

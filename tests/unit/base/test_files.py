"""Files and folders appear whole or not at all, also when the disk is full or the process dies."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgevit.base import files
from edgevit.base.errors import OutputError
from edgevit.base.files import (
    check_place,
    check_writable,
    digest_path,
    move_whole,
    size_path,
    write_whole,
)
from programs import run_program

ROOT = Path(files.__file__).parents[2]
DEAD = 4_194_305  # larger than any process id of Linux: pid_max is at most 4194304


def make_folder(path: Path, text: str = "new") -> Path:
    (path / "inner").mkdir(parents=True)
    (path / "graph.pb").write_text(text)
    (path / "inner" / "values").write_text(text * 1000)
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@contextlib.contextmanager
def full_disk(folder: Path, size: str = "64k"):
    """A real file system of a few pages; skips where it cannot be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_file_is_written_with_its_folders_and_nothing_else_stays(tmp_path):
    path = tmp_path / "a" / "b" / "file.bin"
    write_whole(path, b"content")
    assert path.read_bytes() == b"content"
    assert names_in(path.parent) == ["file.bin"]


def test_a_file_replaces_an_older_one(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"a much longer older content")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_folder_is_moved_with_everything_in_it_and_the_source_stays(tmp_path):
    source, path = make_folder(tmp_path / "staged"), tmp_path / "out" / "model"
    move_whole(source, path)
    assert digest_path(path) == digest_path(source)
    assert names_in(path.parent) == ["model"]


def test_a_folder_replaces_an_older_one_entirely(tmp_path):
    source, path = make_folder(tmp_path / "staged"), tmp_path / "out" / "model"
    make_folder(path, "old")
    (path / "only-in-the-old-one").write_text("old")
    move_whole(source, path)
    assert digest_path(path) == digest_path(source)
    assert names_in(path.parent) == ["model"]


def test_an_older_folder_is_replaced_in_one_step_where_the_system_can(tmp_path, monkeypatch):
    source, path = make_folder(tmp_path / "staged"), make_folder(tmp_path / "out" / "model", "old")
    if not files._exchange(make_folder(tmp_path / "a"), make_folder(tmp_path / "b")):
        pytest.skip("this file system exchanges no entries")
    monkeypatch.delattr(Path, "rename")  # a kill between two of them would leave neither
    move_whole(source, path)
    assert digest_path(path) == digest_path(source)
    assert names_in(path.parent) == ["model"]


def test_an_older_folder_is_replaced_in_two_steps_elsewhere(tmp_path, monkeypatch):
    source, path = make_folder(tmp_path / "staged"), make_folder(tmp_path / "out" / "model", "old")
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    move_whole(source, path)
    assert digest_path(path) == digest_path(source)
    assert names_in(path.parent) == ["model"]


@pytest.mark.parametrize("write", ["write_whole", "move_whole", "check_writable"])
def test_a_place_below_a_regular_file_is_an_output_error(tmp_path, write):
    (tmp_path / "file").write_text("in the way")
    calls = {
        "write_whole": lambda path: write_whole(path, b"x"),
        "move_whole": lambda path: move_whole(make_folder(tmp_path / "staged"), path),
        "check_writable": check_writable,
    }
    with pytest.raises(OutputError, match="cannot be written") as caught:
        calls[write](tmp_path / "file" / "inner" / "model")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_folder_where_the_file_should_go_is_an_output_error(tmp_path):
    path = make_folder(tmp_path / "out" / "model.onnx", "keep")
    with pytest.raises(OutputError):
        write_whole(path, b"x")
    assert (path / "graph.pb").read_text() == "keep"
    assert names_in(path.parent) == ["model.onnx"]


def test_a_file_where_the_folder_should_go_is_an_output_error_and_stays(tmp_path):
    source, path = make_folder(tmp_path / "staged"), tmp_path / "out" / "model"
    path.parent.mkdir()
    path.write_text("keep")
    with pytest.raises(OutputError):
        move_whole(source, path)
    assert path.read_text() == "keep"
    assert names_in(path.parent) == ["model"]


@pytest.mark.parametrize("leads_to", ["kept", "model", "nothing"])
def test_a_link_where_the_folder_should_go_is_refused_before_work(tmp_path, leads_to):
    (tmp_path / "kept").mkdir()
    path = tmp_path / "model"
    path.symlink_to(tmp_path / leads_to)
    with pytest.raises(OutputError, match="a link is where a folder would be"):
        check_place(path, folder=True)
    assert names_in(tmp_path) == ["kept", "model"]


def test_a_full_disk_is_an_output_error_and_the_older_file_stays_whole(tmp_path):
    with full_disk(tmp_path / "disk") as disk:
        path = disk / "file.bin"
        write_whole(path, b"old")
        with pytest.raises(OutputError, match="No space left"):
            write_whole(path, bytes(1 << 20))
        assert path.read_bytes() == b"old"
        assert names_in(disk) == ["file.bin"]


def test_a_disk_that_is_too_small_for_a_second_folder_keeps_the_first_whole(tmp_path):
    source = make_folder(tmp_path / "staged")
    (source / "inner" / "large").write_bytes(bytes(1 << 20))
    with full_disk(tmp_path / "disk") as disk:
        path = make_folder(disk / "model", "old")
        before = digest_path(path)
        with pytest.raises(OutputError):
            move_whole(source, path)
        assert digest_path(path) == before
        assert names_in(disk) == ["model"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_error_at_any_step_leaves_the_older_file_and_no_partial(tmp_path, monkeypatch, call):
    path = tmp_path / "file.bin"
    write_whole(path, b"old")

    def refuse(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = os if call == "fsync" else Path
    monkeypatch.setattr(owner, call, refuse)
    with pytest.raises(OutputError, match="No space left on device"):
        write_whole(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["file.bin"]


def test_a_last_rename_that_fails_puts_the_older_folder_back(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    source, path = make_folder(tmp_path / "staged"), tmp_path / "out" / "model"
    make_folder(path, "old")
    before = digest_path(path)
    rename = Path.rename

    def refuse_new(self, target):
        if self.name.endswith(".partial") and (self / "graph.pb").read_text() == "new":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(OutputError, match="Input/output error"):
        move_whole(source, path)
    monkeypatch.undo()
    assert digest_path(path) == before
    assert names_in(path.parent) == ["model"]


def test_a_writable_folder_is_made_and_left_empty(tmp_path):
    check_writable(tmp_path / "new" / "folder")
    assert names_in(tmp_path / "new" / "folder") == []


def test_what_killed_processes_left_is_cleared_and_what_living_ones_write_is_not(tmp_path):
    dead_file = tmp_path / f".model.tflite.{DEAD}-0a1b2c3d.partial"
    dead_file.write_bytes(b"half")
    make_folder(tmp_path / f".model.{DEAD}-0a1b2c3d.partial")
    living = tmp_path / f".other.onnx.{os.getppid()}-0a1b2c3d.partial"
    living.write_bytes(b"half")
    users = tmp_path / "notes.partial"
    users.write_text("not ours")
    write_whole(tmp_path / "model.tflite", b"whole")
    assert names_in(tmp_path) == sorted([living.name, "model.tflite", "notes.partial"])


def test_a_digest_depends_on_names_and_contents_and_on_nothing_else(tmp_path):
    first, second = make_folder(tmp_path / "first"), make_folder(tmp_path / "second")
    os.utime(second / "graph.pb", (1, 1))
    assert digest_path(first) == digest_path(second)
    (second / "graph.pb").rename(second / "graph2.pb")
    assert digest_path(first) != digest_path(second)
    (second / "graph2.pb").rename(second / "graph.pb")
    (second / "graph.pb").write_text("neW")
    assert digest_path(first) != digest_path(second)


def test_content_cannot_move_between_files_without_changing_the_digest(tmp_path):
    for name, parts in (("first", ("ab", "c")), ("second", ("a", "bc"))):
        (tmp_path / name).mkdir()
        for file, text in zip("xy", parts, strict=True):
            (tmp_path / name / file).write_text(text)
    assert digest_path(tmp_path / "first") != digest_path(tmp_path / "second")


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path):
    folder = make_folder(tmp_path / "model")
    assert size_path(folder) == 3 + 3000
    assert size_path(folder / "graph.pb") == 3


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_kill_at_any_step_leaves_the_old_or_the_new_or_nothing_but_never_a_part(tmp_path, kind):
    steps = int(run_program("write_killed", make_place(tmp_path / "whole", kind), kind, 0).stdout)
    assert steps >= 3
    chosen = range(1, steps + 1) if kind == "file" else sorted({1, 2, *range(4, steps + 1, 2)})
    for step in chosen:
        place = make_place(tmp_path / str(step), kind)
        assert run_program("write_killed", place, kind, step).returncode == -9
        path = place / "out" / "model"
        if kind == "file":
            assert path.read_bytes() in (b"old", b"new" * 100_000)
            write_whole(path, b"next")
        else:
            if path.exists():
                wholes = {digest_path(place / "staged"), digest_path(place / "old")}
                assert digest_path(path) in wholes
            move_whole(place / "staged", path)
        assert names_in(place / "out") == ["model"]


def make_place(place: Path, kind: str) -> Path:
    make_folder(place / "staged")
    make_folder(place / "old", "old")
    if kind == "file":
        (place / "out").mkdir()
        (place / "out" / "model").write_bytes(b"old")
    else:
        make_folder(place / "out" / "model", "old")
    return place

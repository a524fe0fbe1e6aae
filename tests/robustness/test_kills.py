"""Kills and full disks: no partial file is published, and the next run clears what was left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgevit.base.workspace import MARK, PREFIX
from programs import ROOT, command_of
from robustness.base import find_light_base
from robustness.kills import (
    CODES,
    LIMIT_S,
    check_whole,
    left_over,
    start,
    wait_for,
)


def test_what_a_killed_process_left_is_cleared_by_the_next(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
    process = subprocess.Popen(
        command_of("hold_workspace"), stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    held = Path(process.stdout.readline().strip())
    old = time.time() - 60
    os.utime(held, (old, old))
    run = [sys.executable, "-m", "edgevit.cli.main", "targets"]
    subprocess.run(run, env=environment, capture_output=True, check=True)
    assert (held / "large.bin").exists()  # its process lives
    process.kill()
    process.communicate()
    os.utime(held, (old, old))
    subprocess.run(run, env=environment, capture_output=True, check=True)
    assert list(scratch.iterdir()) == []


def test_a_folder_of_such_a_name_that_is_the_users_is_left_alone(tmp_path):
    scratch, kept = tmp_path / "scratch", tmp_path / "kept"
    scratch.mkdir()
    kept.mkdir()
    (kept / "file").write_text("mine")
    (kept / MARK).touch()
    (scratch / f"{PREFIX}link").symlink_to(kept)
    exports = scratch / f"{PREFIX}exports"
    exports.mkdir()
    (exports / "mine.tflite").touch()
    os.utime(exports, (time.time() - 60,) * 2)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
    run = [sys.executable, "-m", "edgevit.cli.main", "targets"]
    subprocess.run(run, env=environment, capture_output=True, check=True)
    assert (kept / "file").read_text() == "mine"
    assert (exports / "mine.tflite").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_report_with_its_code_and_leaves_nothing(tmp_path, number):
    exports, _, _ = find_light_base()
    folder, scratch = exports["onnx-float32"].parent, tmp_path / "scratch"
    out = tmp_path / "page.html"
    process = start(["report", folder, "--verify", "--out", out], scratch)
    wait_for(process, "reading")
    process.send_signal(number)
    _, said = process.communicate(timeout=LIMIT_S)
    assert "Traceback" not in said
    assert process.returncode in (CODES[number], 0, 1)
    assert list(scratch.iterdir()) == []


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_kills_leave_whole_files_and_the_next_run_clears_up(tmp_path):
    """Thirty of each signal over six verbs; ``--times 100`` by command."""
    command = [sys.executable, "-m", "robustness.kills", "--times", "30", "--base", str(tmp_path)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    found = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout + found.stderr[-2000:]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_exports_at_once_into_one_folder_leave_whole_files(tmp_path, weights):
    out = tmp_path / "out"
    arguments: list[object] = ["export", weights.parent, "--format", "onnx-float32", "--out", out]
    for _ in range(20):
        pair = [start(arguments, tmp_path / f"scratch{number}") for number in range(2)]
        for process in pair:
            process.communicate(timeout=LIMIT_S)
            assert process.returncode == 0
        check_whole(out)
        assert len(list(out.iterdir())) == 2


@pytest.mark.long
@pytest.mark.parametrize("full", ["out", "scratch"])
def test_a_full_disk_is_one_line_that_names_the_place(tmp_path, weights, full):
    disk = tmp_path / full
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        out, scratch = tmp_path / "out", tmp_path / "scratch"
        arguments: list[object] = ["export", weights.parent, "--format", "onnx-float32"]
        process = start([*arguments, "--out", out], scratch)
        _, said = process.communicate(timeout=LIMIT_S)
        (line,) = [text for text in said.splitlines() if text.startswith("edgevit: error:")]
        assert process.returncode == 1
        assert str(disk) in line
        assert "No space left" in line
        assert left_over(disk) == []
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)

"""Kills and full disks: no partial file is published, and the next run clears what was left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgevit.base.files import digest_path
from edgevit.base.workspace import PREFIX
from edgevit.core.manifest import manifest_path, read_manifest_file
from programs import ROOT, command_of
from robustness.base import find_light_base

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
TARGETS = "savedmodel,tflite-int8,onnx-float32,onnx-int8"
LIMIT_S = 600


def start(arguments: list[object], scratch: Path) -> subprocess.Popen[str]:
    """Starts ``edgevit ARGUMENTS`` with its own folder for temporary files."""
    scratch.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "edgevit.cli.main", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)},
    )


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    """Reads until a line holds the word, or the process ends."""
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return


def check_whole(out: Path) -> None:
    """Every published file is what the manifest beside it says."""
    for path in out.iterdir() if out.exists() else ():
        if path.name.startswith(".") or path.name.endswith(".manifest.json"):
            continue
        document = read_manifest_file(path)
        assert document is None or document["sha256"] == digest_path(path), path
    for beside in out.glob("*.manifest.json"):
        assert manifest_path(beside.with_name(beside.name.removesuffix(".manifest.json"))) == beside


def kill_often(
    arguments: list[object], out: Path, scratch: Path, word: str, number: int, times: int, seed: int
) -> list[int]:
    """Exit codes of runs that a signal ended at random moments after a line with a word."""
    rng, span_s, codes = random.Random(seed), 5.0, []
    while len(codes) < times:
        process = start(arguments, scratch)
        wait_for(process, word)
        begun = time.monotonic()
        while process.poll() is None and time.monotonic() - begun < rng.uniform(0, span_s):
            time.sleep(0.005)
        ended = process.poll() is not None
        if not ended:
            process.send_signal(number)
        _, said = process.communicate(timeout=LIMIT_S)
        assert "Traceback" not in said
        check_whole(out)
        if ended:
            span_s = max(0.2, 0.9 * (time.monotonic() - begun))
        else:
            codes.append(process.returncode)
    return codes


def left_over(folder: Path) -> list[str]:
    """What killed processes left."""
    return [
        entry.name for entry in folder.rglob("*") if PREFIX in entry.name or "partial" in entry.name
    ]


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


def test_a_folder_of_that_name_that_is_a_link_is_left_alone(tmp_path):
    scratch, kept = tmp_path / "scratch", tmp_path / "kept"
    scratch.mkdir()
    kept.mkdir()
    (kept / "file").write_text("mine")
    (scratch / f"{PREFIX}link").symlink_to(kept)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
    run = [sys.executable, "-m", "edgevit.cli.main", "targets"]
    subprocess.run(run, env=environment, capture_output=True, check=True)
    assert (kept / "file").read_text() == "mine"


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
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_ten_kills_of_an_export_leave_whole_files_and_the_next_run_clears_up(
    tmp_path, weights, number
):
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    arguments: list[object] = ["export", weights.parent, "--format", TARGETS, "--out", out]
    codes = kill_often(arguments, out, scratch, "lowering", number, times=10, seed=number)
    assert set(codes) == {CODES[number]}
    old = time.time() - 60
    for entry in scratch.iterdir():
        os.utime(entry, (old, old))
    process = start(arguments, scratch)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert left_over(out) == []
    assert list(scratch.iterdir()) == []


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_exports_at_once_into_one_folder_leave_whole_files(tmp_path, weights):
    out = tmp_path / "out"
    arguments: list[object] = ["export", weights.parent, "--format", "onnx-float32", "--out", out]
    for _ in range(3):
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

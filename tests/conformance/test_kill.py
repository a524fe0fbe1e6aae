"""A process that is killed in the middle of an export leaves whole files or none."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgevit.base.files import digest_path
from edgevit.core.manifest import manifest_path, read_manifest_file
from edgevit.core.parity import Verdict
from edgevit.verbs.export import export_all
from edgevit.verbs.verify import verify
from programs import run_program

ROOT = Path(__file__).parents[2]
TARGETS = "savedmodel,onnx-float32"  # a folder and a file
DEADLINE_S = 250


def start_export(model: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "edgevit.cli.main", "export", str(model)]
    scratch = out.with_name("scratch")  # where a killed process leaves what it staged
    scratch.mkdir(exist_ok=True)
    return subprocess.Popen(
        [*command, "--format", TARGETS, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)},
    )


def wait_for(process: subprocess.Popen, word: str) -> bool:
    """Reads status lines until one holds the word; False where the process ended before."""
    limit = time.monotonic() + DEADLINE_S
    for line in process.stderr:
        if word in line:
            return True
        assert time.monotonic() < limit
    return False


def visible(out: Path) -> list[Path]:
    """Exported files and folders; manifests and hidden leftovers do not count."""
    entries = [entry for entry in out.iterdir() if not entry.name.startswith(".")]
    return [entry for entry in entries if not entry.name.endswith(".manifest.json")]


def check_whole(out: Path) -> int:
    """Every file is what its manifest says, or verifies by itself where there is none yet."""
    for path in visible(out):
        document = read_manifest_file(path)
        if document is None:
            assert verify(path).verdict is Verdict.PASS
        else:
            assert document["sha256"] == digest_path(path)
    for entry in out.glob("*.manifest.json"):
        assert not entry.name.startswith(".")
        assert (out / entry.name.removesuffix(".manifest.json")).exists()
    return len(visible(out))


def kill_often(model: Path, out: Path, times: int, seed: int) -> None:
    rng = random.Random(seed)
    span_s = 4.0  # from the first line of an export to its last; adapted to this machine
    for _ in range(times):
        process = start_export(model, out)
        begun = wait_for(process, "savedmodel: lowering")
        assert begun, "the export ended before it began"
        started = time.monotonic()
        delay = rng.uniform(0, span_s)
        while process.poll() is None and time.monotonic() - started < delay:
            time.sleep(0.005)
        if process.poll() is None:
            process.kill()
        else:
            span_s = time.monotonic() - started
        process.wait(timeout=DEADLINE_S)
        process.stderr.close()
        check_whole(out)
    # The next export clears what killed ones left, and everything is there.
    outcomes = export_all(model, TARGETS, out)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.PASS] * 2
    assert [entry.name for entry in out.iterdir() if entry.name.endswith(".partial")] == []
    assert check_whole(out) == 2
    assert len([*out.iterdir()]) == 4


def test_two_kills_at_random_moments_leave_whole_files(tiny_run, tmp_path):
    kill_often(tiny_run, tmp_path / "out", times=2, seed=0)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_twenty_kills_at_random_moments_leave_whole_files(tiny_run, tmp_path):
    kill_often(tiny_run, tmp_path / "out", times=20, seed=1)


# Publishing takes milliseconds, so random moments rarely meet it: here the process kills itself at
# its n-th step on the file system while it publishes, for every n.
def test_a_kill_at_any_step_of_publishing_over_an_older_file_leaves_whole_files(exported, tmp_path):
    source = exported["onnx-float32"]
    place = tmp_path / "out" / source.name

    def prepare() -> None:
        for entry in place.parent.glob("*"):
            entry.unlink()
        for entry in place.parent.glob(".*"):
            entry.unlink()
        place.parent.mkdir(exist_ok=True)
        older = exported["tflite-int8"]
        place.write_bytes(older.read_bytes())
        beside = json.loads(manifest_path(older).read_text())
        manifest_path(place).write_text(json.dumps({**beside, "file": place.name}))

    prepare()
    steps = int(run_program("publish_killed", source, place, 0).stdout)
    assert steps >= 6
    digests = {digest_path(source), digest_path(exported["tflite-int8"])}
    for step in range(1, steps + 1):
        prepare()
        assert run_program("publish_killed", source, place, step).returncode == -9
        if place.exists():
            assert digest_path(place) in digests
        document = read_manifest_file(place)
        if document is not None:  # never the manifest of another file
            assert place.exists()
            assert document["sha256"] == digest_path(place)
        assert run_program("publish_killed", source, place, 0).returncode == 0
        assert sorted(entry.name for entry in place.parent.iterdir()) == sorted(
            [place.name, manifest_path(place).name]
        )

"""Poor environments: closed streams, odd names, no home, no packages, devices in a file's place."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from programs import ROOT
from robustness.base import FIRST_VERSION
from robustness.jury import Ruling

EDGEVIT = f"{shlex.quote(sys.executable)} -m edgevit.cli.main"


def only_line(found: Ruling) -> str:
    """The one line of a failure; fails where there is more, or anything that must not be."""
    assert found.faults == ()
    (line,) = [line for line in found.err.splitlines() if line.startswith("edgevit: error:")]
    return line


def test_a_closed_stdout_is_told_on_stderr(server, tmp_path):
    found = server.run("targets", folder=tmp_path, closed=(1,))
    assert found.code == 1
    assert "standard output is closed" in only_line(found)


def test_a_closed_stderr_leaves_stdout_for_the_one_line(server, tmp_path):
    found = server.run("verify", "missing.onnx", folder=tmp_path, closed=(2,))
    assert found.code == 2
    assert found.out.startswith("edgevit: error: missing.onnx: no such file")


def test_without_any_stream_the_exit_code_is_right(server, tmp_path):
    found = server.run("verify", "missing.onnx", folder=tmp_path, closed=(0, 1, 2))
    assert (found.code, found.out, found.err) == (2, "", "")


def test_a_full_stdout_is_one_line(server, tmp_path):
    found = server.run("targets", folder=tmp_path, full=(1,))
    assert found.code == 1
    assert "standard output: cannot be written (No space left on device)" in only_line(found)


def test_a_full_stderr_does_not_change_the_exit_code(server, tmp_path):
    assert server.run("verify", "missing.onnx", folder=tmp_path, full=(2,)).code == 2


def test_a_name_that_is_no_utf8_is_shown_with_its_bytes(server, tmp_path):
    found = server.run("verify", b"caf\xe9\xff.onnx", folder=tmp_path)
    assert found.code == 2
    assert r"caf\xe9\xff.onnx: no such file" in only_line(found)


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=str)
def test_in_the_c_locale_names_in_other_scripts_stay_one_line(tmp_path, locale):
    found = subprocess.run(
        ["bash", "-c", rf"{EDGEVIT} verify $'caf\xe9\xff-\xc3\xa9.onnx'"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **locale},
        capture_output=True,
        timeout=120,
    )
    assert found.returncode == 2
    assert rb"caf\xe9\xff-" in found.stderr
    assert b"no such file" in found.stderr
    assert b"Traceback" not in found.stderr


def test_control_characters_of_a_name_do_not_reach_the_terminal(server, tmp_path):
    found = server.run("verify", "\x1b]0;owned\x07\x9b2J\u202e.onnx", folder=tmp_path)
    assert r"\x1b]0;owned\x07\x9b2J\u202e.onnx: no such file" in only_line(found)


@pytest.mark.parametrize("home", [None, "/nonexistent", "/proc"])
def test_no_home_is_needed(server, tmp_path, home):
    found = server.run("doctor", "--json", folder=tmp_path, environment={"HOME": home})
    assert (found.code, found.faults) == (0, ())


@pytest.mark.parametrize("place", ["/nonexistent", "/proc"])
def test_without_a_place_for_temporary_files_light_verbs_work(server, tmp_path, place):
    found = server.run("targets", folder=tmp_path, environment={"TMPDIR": place})
    assert found.code == 0
    assert set(found.faults) <= {"touched"}  # Python falls back to /tmp


@pytest.mark.parametrize(
    ("hidden", "arguments", "extra"),
    [
        ("keras", ["export", "shiftvit", "--format", "tflite-int8"], "tensorflow"),
        ("tensorflow", ["export", "shiftvit", "--format", "savedmodel"], "tensorflow"),
        ("tf2onnx", ["export", "shiftvit", "--format", "onnx-float32"], "onnx"),
        ("onnx_ir", ["export", "shiftvit", "--format", "tflite-int8,onnx-int8"], "onnx"),
        ("ai_edge_litert", ["export", "shiftvit", "--format", "tflite-int8"], "litert"),
        ("keras", ["evaluate", "shiftvit", "--data", "."], "tensorflow"),
        ("keras", ["calibrate", "shiftvit", "--data", "."], "tensorflow"),
        ("keras", ["train", "shiftvit", "--data", "."], "train"),
        ("jax", ["train", "shiftvit", "--data", ".", "--backend", "jax"], "train"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_a_missing_package_is_named_before_work_begins(server, tmp_path, hidden, arguments, extra):
    found = server.run(*arguments, folder=tmp_path, hidden=(hidden,))
    assert found.code == 1
    line = only_line(found)
    assert f"'{hidden}'" in line
    assert f"edgevit[{extra}]" in line
    assert "recording" not in found.err


@pytest.mark.parametrize("what", ["device", "pipe"])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("odd.tflite", ["verify", "odd.tflite"]),
        ("odd.onnx", ["inspect", "odd.onnx"]),
        ("odd.tflite", ["predict", "odd.tflite", "picture.png"]),
        ("odd.png", ["report", "."]),
        ("odd.keras", ["export", "odd.keras", "--format", "onnx-float32"]),
        ("odd.h5", ["export", "odd.h5", "--format", "onnx-float32"]),
        ("odd.safetensors", ["export", "odd.safetensors", "--format", "onnx-float32"]),
        ("odd.txt", ["export", "shiftvit", "--format", "onnx-float32", "--labels", "odd.txt"]),
        (
            "odd.toml",
            ["export", "shiftvit", "--format", "tflite-mixed", "--recipe-file", "odd.toml"],
        ),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_device_or_a_pipe_is_not_read(server, tmp_path, what, name, arguments):
    Image.fromarray(np.zeros((12, 12, 3), np.uint8)).save(tmp_path / "picture.png")
    path = tmp_path / name
    if what == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    found = server.run(*arguments, folder=tmp_path)
    assert found.code == 2
    only_line(found)


def test_a_folder_in_the_place_of_the_file_is_noticed_before_the_export(server, tmp_path):
    (tmp_path / "page.html").mkdir()
    (tmp_path / "some.onnx").write_bytes(b"")
    found = server.run("report", tmp_path, "--out", tmp_path / "page.html", folder=tmp_path)
    assert found.code == 1
    assert "a folder is where a file would be" in only_line(found)
    assert "reading" not in found.err


@pytest.mark.parametrize("form", [[], ["--json"], ["--markdown"]])
def test_a_report_on_files_with_odd_names_is_written(server, tmp_path, form):
    source = next(path for path in FIRST_VERSION.iterdir() if path.suffix == ".onnx")
    for name in (b"caf\xe9.onnx", b"\x1b[31m.onnx", b"<b>{{x}}.onnx"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(source.read_bytes())
    (tmp_path / "bad.json").write_text('{"rows": 3}')
    (tmp_path / "worse.json").write_text('{"a":' * 900 + "1" + "}" * 900)
    found = server.run("report", tmp_path, *form, folder=tmp_path)
    assert (found.code, found.faults) == (0, ())
    page = (tmp_path / ("report.md" if "--markdown" in form else "report.html")).read_bytes()
    assert b"<b>{{" not in page.replace(b"\\<b>", b"")  # Markdown's own escape
    assert b"\x1b" not in page
    page.decode()


def test_json_that_is_nested_too_deeply_is_one_line(server, tmp_path: Path):
    (tmp_path / "net.onnx").write_bytes(b"\x08\x0a")
    (tmp_path / "net.onnx.manifest.json").write_text("[" * 50_000)
    found = server.run("verify", "net.onnx", folder=tmp_path)
    assert found.code == 2
    assert "the manifest is damaged" in only_line(found)


NET = next(str(path) for path in FIRST_VERSION.iterdir() if path.suffix == ".onnx")


@pytest.mark.parametrize(
    ("arguments", "odd", "said"),
    [
        (["deploy", "net.onnx", "--to", "python", "--out", "locked/kit"], {}, "Permission denied"),
        (
            ["deploy", "net.onnx", "--to", "python", "--force", "--out", "link"],
            {},
            "a link is where a folder would be",
        ),
        (["deploy", "net.onnx", "--to", "python", "--out", ".", "--force"], {}, "itself"),
        (["sweep", "plan.toml", "--out", "locked/results"], {}, "Permission denied"),
        (["sweep", "plan.toml", "--out", "file"], {}, "cannot be written"),
        (["cache", "--clear"], {"environment": {"EDGEVIT_CACHE": "locked"}}, "cannot be cleared"),
        (["cache"], {"full": [1]}, "No space left on device"),
        (["cache"], {"closed": [1]}, "standard output is closed"),
        (["deploy", "\x1b[2J.onnx", "--to", "python"], {"environment": {"LC_ALL": "C"}}, "no such"),
        (
            ["sweep", "\u0416.toml"],
            {"environment": {"LC_ALL": "C", "HOME": None}},
            "cannot be read",
        ),
    ],
    ids=lambda value: " ".join(value[:1] + value[-1:])[-40:] if isinstance(value, list) else "",
)
def test_kits_sweeps_and_the_cache_fail_in_one_line(server, tmp_path, arguments, odd, said):
    (tmp_path / "locked" / "outputs").mkdir(parents=True)
    (tmp_path / "locked" / "outputs" / "one.kept").touch()
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "file").touch()
    shutil.copy(NET, tmp_path / "net.onnx")
    plan = 'targets = ["onnx-float32"]\n[[model]]\nsource = "shiftvit"\n'
    (tmp_path / "plan.toml").write_text(plan)
    for folder in ("locked/outputs", "locked"):
        (tmp_path / folder).chmod(0o555)
    found = server.run(*arguments, folder=tmp_path, **odd)
    assert found.code in (1, 2)
    assert said in only_line(found)
    assert not found.litter


def test_a_damaged_file_is_not_compiled_for_an_npu(server, tmp_path):
    source = next(path for path in FIRST_VERSION.iterdir() if path.suffix == ".tflite")
    data = bytearray(source.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "net.tflite").write_bytes(data)
    found = server.run("inspect", "net.tflite", "--npu", "ethos-u85-256", folder=tmp_path)
    assert found.code == 2
    assert "Export it again" in only_line(found)

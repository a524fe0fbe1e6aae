"""The terminal: what goes to which stream, tables, and values as people type and read them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import sys
from pathlib import Path

import pytest

from edgevit.cli import console
from programs import run_program

ROOT = Path(console.__file__).parents[2]


def test_what_libraries_print_from_c_is_hidden_and_what_we_say_is_not():
    found = run_program("print_noise")
    assert "native" not in found.stdout + found.stderr
    assert "C library" not in found.stdout + found.stderr
    assert '{\n  "a": 1\n}\n' in found.stdout
    assert "for people" in found.stderr
    assert found.stdout.endswith("stdout again\n")
    assert found.stderr.endswith("stderr again\n")


def test_verbose_shows_what_libraries_print_on_stderr_and_keeps_stdout_clean():
    found = run_program("print_noise", "verbose")
    assert "native to stdout" in found.stderr
    assert "native to stderr" in found.stderr
    assert "C library to stdout" in found.stderr
    assert "native" not in found.stdout
    assert '{\n  "a": 1\n}\n' in found.stdout


def test_both_streams_come_back_after_an_error(capfd):
    before = console._stdout_fd, console._stderr_fd, sys.stdout

    def fail():
        with console.native_output_hidden(verbose=False):
            os.write(1, b"hidden\n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (console._stdout_fd, console._stderr_fd, sys.stdout) == before
    os.write(1, b"shown\n")
    assert capfd.readouterr().out == "shown\n"


def test_an_answer_is_one_document_or_one_text(capfd):
    console.answer({"value": float("nan")}, True, lambda: "text")
    assert json.loads(capfd.readouterr().out) == {"value": None}
    console.answer({"value": 1}, False, lambda: "text\n\n")
    assert capfd.readouterr().out == "text\n"


def test_a_table_shows_every_cell_and_aligns_figures_to_the_right():
    rows = [{"name": "a[b]", "MB": "1.25"}, {"name": "longer", "MB": "10.50"}]
    text = console.table(rows, words=("name",))
    header, rule, first, second = text.splitlines()
    assert header.split() == ["name", "MB"]
    assert set(rule.strip()) == {"─"}
    assert first.split() == ["a[b]", "1.25"]  # brackets are text, not markup
    assert second.split() == ["longer", "10.50"]
    assert first.index("1.25") + 4 == second.index("10.50") + 5


def test_a_heading_that_a_row_lacks_is_an_empty_cell_there():
    heading, _, first, second = console.table([{"a": "1"}, {"b": "2", "a": "3"}]).splitlines()
    assert (heading.split(), first.split(), second.split()) == (["a", "b"], ["1"], ["3", "2"])


ROWS = [
    {"target": "tflite-int8", "verdict": "pass", "MB": "0.11", "what": "integers from end to end"},
    {"target": "onnx-int8", "verdict": "fail", "MB": "10.12", "what": "int8 products"},
]
FILE = "exports/a long name/" + "x" * 90 + ".tflite"


def read_words(text: str) -> set[str]:
    return set(text.split()) - {"─" * 80}


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_a_table_fits_its_terminal_and_breaks_no_word(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    text = console.table(ROWS, words=("target", "verdict", "what"))
    assert max(map(len, text.splitlines())) <= width
    words = {word for row in ROWS for cell in row.values() for word in cell.split()}
    assert words <= read_words(text)
    assert text.startswith("target:\ntflite-int8\n") == (width == 30)


@pytest.mark.parametrize("width", [None, 60, 200])
def test_the_name_of_a_file_is_never_broken(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width or ""))
    text = console.table([{"verdict": "pass", "file": FILE}], words=("verdict", "file"))
    assert FILE in text


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"NO_COLOR": "1"}, False),
    ],
)
def test_verdicts_are_coloured_where_colour_is_wanted(monkeypatch, variables, coloured):
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for width in ("30", "100"):
        monkeypatch.setenv("COLUMNS", width)
        text = console.table(ROWS, words=("target", "verdict", "what"))
        assert ("\x1b[32mpass" in text, "\x1b[31mfail" in text) == (coloured, coloured)
        assert ("\x1b" in text) == coloured
    assert console.paint("lossy") == ("\x1b[33mlossy\x1b[0m" if coloured else "lossy")
    assert console.paint("tflite-int8") == "tflite-int8"


def test_a_quiet_run_says_nothing_of_what_is_being_done(capfd):
    console.be_quiet()
    try:
        with console.working() as work:
            work.status("loading")
            work.advance(1, 10)
    finally:
        console.be_quiet(False)
    assert capfd.readouterr() == ("", "")


def test_status_lines_go_to_stderr_where_no_terminal_is(capfd):
    with console.working() as work:
        work.status("loading")
        work.advance(1, 10)
        work.advance(3, 0)
        work.show([{"file": "a.tflite"}])
    assert capfd.readouterr() == ("", "loading\n")


def test_a_pipe_hears_now_and_then_how_far_the_work_is(capfd, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.working() as work:
        work.status("calibrating")
        for done, seconds in ((1, 4), (2, 8), (5, 20), (6, 24), (8, 32)):
            now[0] = 100.0 + seconds
            work.advance(done, 10)
        work.status("counting")
        now[0] += 11
        work.advance(7, 0)
    assert capfd.readouterr().err.splitlines() == [
        "calibrating",
        "calibrating: 5 of 10, about 20 s left",
        "calibrating: 8 of 10, about 8 s left",
        "counting",
        "counting: 7 done",
    ]


def test_a_status_that_stays_is_said_once(capfd):
    with console.working() as work:
        for line in ("training", "training", "answering", "answering", "training"):
            work.status(line)
            work.advance(1, 2)
    assert capfd.readouterr() == ("", "training\nanswering\ntraining\n")


def test_megabytes_count_by_the_million():
    assert console.megabytes(1_000_000) == "1.00"
    assert console.megabytes(305_584) == "0.31"


def test_a_path_is_shown_as_it_would_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert console.shown_path(tmp_path / "exports" / "a.onnx") == "exports/a.onnx"
    assert console.shown_path(Path("/elsewhere/a.onnx")) == "/elsewhere/a.onnx"


@pytest.mark.parametrize("still", [False, True])
def test_a_terminal_shows_the_table_above_the_bar_and_is_left_clean(monkeypatch, still):
    shown, terminal = pty.openpty()
    monkeypatch.setattr(console, "_stderr_fd", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with console.working(still=still) as work:
        work.status("measuring")
        work.advance(3, 7)
        work.show([{"file": "a.tflite", "samples": "12"}])
    os.close(terminal)
    text = b""
    with contextlib.suppress(OSError):  # which is how the end of a terminal is told
        while piece := os.read(shown, 1 << 16):
            text += piece
    os.close(shown)
    places = [text.decode().rindex(word) for word in ("a.tflite", "measuring", "3/7")]
    assert places == sorted(places)
    assert text.endswith(b"\x1b[2K")  # the last line is erased again

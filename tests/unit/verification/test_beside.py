"""A check in a process of its own: the same reports, one line for its death, and no orphan."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgevit.base.errors import ModelFileError, RuntimeFailure
from edgevit.core.golden_inputs import Draw, draw_inputs
from edgevit.core.reference import ReferenceSet, Samples
from edgevit.formats.registry import find_runtime
from edgevit.verification.beside import Beside, Request
from edgevit.verification.parity import check_file

RUNTIMES = ("litert", "litert-reference")
PARENT = """
import sys, time
from edgevit.verification.beside import Beside, Request
beside = Beside(Request(None, (), None, 2), [sys.executable, "-c", CODE])
print(beside._child.pid, flush=True)
time.sleep(60)
"""
# As edgevit.verification.worker does while a runtime runs.
WORKER = """
import pickle, sys, time
from edgevit.base.children import end_with_parent
pickle.load(sys.stdin.buffer)
end_with_parent(sys.stdin.buffer)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def reference() -> ReferenceSet:
    draws = {"images": Draw((4, 4, 3), "float32")}
    inputs = draw_inputs(draws, 5)
    return ReferenceSet(Samples(inputs, {"out": inputs["images"] * np.float32(2)}), draws)


@pytest.fixture(scope="module")
def file(tmp_path_factory, convert_tflite) -> Path:
    path = tmp_path_factory.mktemp("beside") / "double.tflite"
    path.write_bytes(convert_tflite(lambda images: {"out": images * 2.0}, (1, 4, 4, 3)))
    return path


def test_the_reports_are_those_of_this_process(file, reference):
    rows = [find_runtime(name) for name in RUNTIMES]
    expected = check_file(file, rows, reference, lambda line: None, telling=2)
    with Beside(Request(file, RUNTIMES, reference, 2)) as beside:
        found, seconds = beside.result()
    assert repr(found.reports) == repr(expected.reports)
    assert seconds > 0


def test_an_error_of_the_check_arrives_as_what_it_is(tmp_path, reference):
    request = Request(tmp_path / "none.tflite", RUNTIMES, reference, 2)
    with Beside(request) as beside, pytest.raises(ModelFileError, match="no such file"):
        beside.result()


def test_a_worker_that_dies_is_one_line(file, reference):
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"]
    with (
        Beside(Request(file, RUNTIMES, reference, 2), command) as beside,
        pytest.raises(RuntimeFailure, match=r"double.tflite: .* died \(SIGSEGV\)"),
    ):
        beside.result()


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux who runs")
def test_a_worker_dies_with_its_parent():
    code = PARENT.replace("CODE", repr(WORKER))
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    time.sleep(0.2)
    assert is_running(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    ends = time.monotonic() + 20
    while is_running(pid) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not is_running(pid)

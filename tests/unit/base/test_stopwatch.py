"""Stages of a process: no gap between them, and the first begins with the process."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from edgevit.base.stopwatch import Stopwatch

CODE = """
import time
time.sleep(0.3)
from edgevit.base.stopwatch import Stopwatch
watch = Stopwatch("starting")
watch.begin("working")
time.sleep(0.1)
print(*(stage.seconds for stage in watch.stop()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says when a process started")
def test_the_first_stage_begins_with_the_process():
    started = time.perf_counter()
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    whole = time.perf_counter() - started
    starting, working = map(float, found.stdout.split())
    assert starting >= 0.3
    assert working >= 0.1
    assert starting + working <= whole + 0.02  # a tick is 10 ms


def test_stages_follow_each_other_without_a_gap():
    started = time.perf_counter()
    watch = Stopwatch("first")
    watch.begin("second")
    time.sleep(0.02)
    watch.begin("third")
    first, second, third = watch.stop()
    assert [stage.name for stage in (first, second, third)] == ["first", "second", "third"]
    assert second.seconds + third.seconds == pytest.approx(time.perf_counter() - started, abs=0.01)

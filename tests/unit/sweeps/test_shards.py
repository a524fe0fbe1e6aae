"""Samples that several processes share come back in order, the same to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.base.errors import RuntimeFailure
from edgevit.sweeps.shards import SHARD, Workers, join_outputs, run_shards
from edgevit.verification.parity import CHUNK
from programs import FOLDER, ROOT
from programs.fake_sides import open_sum


@pytest.fixture(autouse=True)
def workers_find_programs(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{FOLDER.parent}")


def test_a_shard_begins_where_a_chunk_does():
    assert SHARD % CHUNK == 0


@pytest.mark.parametrize("jobs", [1, 3])
def test_outputs_do_not_depend_on_how_many_processes_there_are(jobs):
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=(2 * SHARD + 7, 5)).astype(np.float32) for name in "ab"}
    told = []
    parts = run_shards(
        "programs.fake_sides:open_sum",
        "right",
        inputs,
        Workers(jobs),
        progress=lambda done, total: told.append((done, total)),
    )
    with open_sum("right") as run:
        expected = run(inputs)
    found = join_outputs(parts)
    assert found["sum"].tobytes() == expected["sum"].tobytes()
    assert told[-1] == (2 * SHARD + 7, 2 * SHARD + 7)


def test_a_process_that_dies_is_one_line():
    with pytest.raises(RuntimeFailure, match=r"samples from 0: their process ended with exit"):
        run_shards("programs.fake_sides:open_sum", "leave", np.zeros((3, 2)), Workers(1))

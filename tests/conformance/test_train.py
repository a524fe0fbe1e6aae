"""edgevit train, as it is typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgevit.base import processor
from edgevit.core.golden_images import draw_images
from edgevit.models.history import RUN_FILE

TRAIN = ("--recipe", "finetune", "--epochs", 1, "--backend", "tensorflow")


@pytest.fixture
def dataset(tmp_path) -> Path:
    path = tmp_path / "drawn.npz"
    images = draw_images(220, (12, 12), seed=3)
    labels = np.arange(220) % 10
    np.savez(
        path, x_train=images[:200], y_train=labels[:200], x_test=images[200:], y_test=labels[200:]
    )
    return path


def test_no_image_that_initial_weights_learnt_from_is_validated_on(
    command, tiny_run, dataset, tmp_path
):
    before = tmp_path / "before"
    shutil.copytree(tiny_run, before)
    known = {"recipe": {"held_out": 0.05}, "data": dataset.name}
    (before / RUN_FILE).write_text(json.dumps(known))
    answer = command(
        *("train", "shiftvit", "--data", dataset, "--init", before, *TRAIN),
        *("--out", tmp_path / "run"),
    )
    assert answer.code == 0, answer.err
    assert "10 validation images" in answer.out
    assert "warning" not in answer.err
    run = json.loads((tmp_path / "run" / RUN_FILE).read_text())
    assert run["recipe"]["held_out"] == 0.05
    assert (run["train_images"], run["validation_images"]) == (190, 10)
    assert run["initial"]["run"] == known


def test_bfloat16_on_a_processor_without_it_is_warned_of(
    command, tiny_run, dataset, tmp_path, monkeypatch
):
    (tmp_path / "cpuinfo").write_text("flags : avx2\n")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    answer = command(
        *("train", "shiftvit", "--data", dataset, "--init", tiny_run, *TRAIN),
        *("--precision", "bfloat16", "--out", tmp_path / "run", "--json"),
    )
    assert answer.code == 0, answer.err
    assert (answer.document["model"], answer.document["epochs"]) == ("shiftvit", 1)
    assert Path(answer.document["weights"]).exists()
    assert "warning: this processor has no bfloat16 products" in answer.err

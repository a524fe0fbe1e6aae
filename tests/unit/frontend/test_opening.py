"""Validation images are those that nothing behind the weights has learnt from."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgevit.core.tensors import Preprocess
from edgevit.data.datasets import load_dataset, split_validation
from edgevit.frontend.opening import load_validation

CONTRACT = Preprocess((4, 4), (4, 4))


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "numbers.npz"
    images = np.zeros((200, 4, 4, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(200)
    labels = np.arange(200) % 2
    np.savez(path, x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])
    return path


def numbers(images) -> list[int]:
    return images.images[:, 0, 0, 0].tolist()


def test_a_fifth_where_nothing_is_known_of_the_weights(dataset, tmp_path):
    _, held = split_validation(load_dataset(dataset, "train", (4, 4)), 0.2)
    for folder in (None, tmp_path):
        assert numbers(load_validation(dataset, CONTRACT, (), 1000, folder)) == numbers(held)


def test_what_a_run_behind_the_weights_has_learnt_from_is_left_out(dataset, tmp_path):
    first = {"recipe": {"held_out": 0.05}, "data": "numbers.npz"}
    run = {"recipe": {"held_out": 0.1}, "data": "numbers.npz", "initial": {"run": first}}
    (tmp_path / "recipe.json").write_text(json.dumps(run))
    found = load_validation(dataset, CONTRACT, (), 1000, tmp_path)
    seen, _ = split_validation(load_dataset(dataset, "train", (4, 4)), 0.05)
    assert len(found) == 10
    assert not {*numbers(found)} & {*numbers(seen)}

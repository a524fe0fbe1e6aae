"""Validation images are those that nothing behind the weights has learnt from."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgevit.core.signature import InputSpec, Signature
from edgevit.core.tensors import Preprocess
from edgevit.data.datasets import load_dataset, split_validation
from edgevit.data.evaluation import load_test, load_validation
from edgevit.frontend.source import Source

SIZE = (4, 4)


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "numbers.npz"
    images = np.zeros((200, 4, 4, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(200)
    labels = np.arange(200) % 2
    np.savez(path, x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])
    return path


def source_in(folder) -> Source:
    """A model whose weights lie in a folder."""
    photo = InputSpec("photo", (None, *SIZE, 3), preparation=Preprocess(SIZE, SIZE))
    return Source("net", None, Signature((photo,), ()), "generic", (), "aa", folder=folder)


def numbers(images) -> list[int]:
    return images.images[:, 0, 0, 0].tolist()


def test_a_fifth_where_nothing_is_known_of_the_weights(dataset, tmp_path):
    _, held = split_validation(load_dataset(dataset, "train", (4, 4)), 0.2)
    assert numbers(load_validation(dataset, SIZE, (), 1000)) == numbers(held)
    for folder in (None, tmp_path):
        found = load_validation(dataset, SIZE, (), 1000, source_in(folder).share_unseen)
        assert numbers(found) == numbers(held)


def test_what_a_run_behind_the_weights_has_learnt_from_is_left_out(dataset, tmp_path):
    first = {"recipe": {"held_out": 0.05}, "data": "numbers.npz"}
    run = {"recipe": {"held_out": 0.1}, "data": "numbers.npz", "initial": {"run": first}}
    (tmp_path / "recipe.json").write_text(json.dumps(run))
    found = load_validation(dataset, SIZE, (), 1000, source_in(tmp_path).share_unseen)
    seen, _ = split_validation(load_dataset(dataset, "train", (4, 4)), 0.05)
    assert len(found) == 10
    assert not {*numbers(found)} & {*numbers(seen)}


def test_labels_follow_the_models_class_names_where_it_has_them_all(tmp_path):
    images = np.zeros((2, 4, 4, 3), np.uint8)
    arrays = {"x_train": images, "y_train": [0, 1], "x_test": images, "y_test": [0, 1]}
    np.savez(tmp_path / "named.npz", class_names=["bee", "cat"], **arrays)
    found = load_test(tmp_path / "named.npz", SIZE, ("ant", "cat", "bee"))
    assert (found.labels.tolist(), found.class_names) == ([2, 1], ("ant", "cat", "bee"))
    own = load_test(tmp_path / "named.npz", SIZE, ("ant", "cat"))
    assert (own.labels.tolist(), own.class_names) == ([0, 1], ("bee", "cat"))


def test_a_limit_draws_the_same_test_images_every_time(tmp_path):
    images = np.zeros((50, 4, 4, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(50)
    labels = np.arange(50) % 2
    arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    np.savez(tmp_path / "many.npz", **arrays)
    first, again = (numbers(load_test(tmp_path / "many.npz", SIZE, (), 7)) for _ in range(2))
    assert first == again == sorted(first)
    assert len(set(first)) == 7


def test_images_of_one_channel_are_read_as_such(tmp_path):
    images = np.arange(20 * 16, dtype=np.uint32).reshape(20, 4, 4).astype(np.uint8)
    labels = np.arange(20) % 2
    arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    np.savez(tmp_path / "grey.npz", **arrays)
    tests = load_test(tmp_path / "grey.npz", SIZE, (), channels=1)
    np.testing.assert_array_equal(tests.images, images[..., None])
    held = load_validation(tmp_path / "grey.npz", SIZE, (), None, channels=1)
    assert held.images.shape == (4, 4, 4, 1)

"""Calibration samples of any model: what is drawn, how it is identified, what is held out."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from edgevit.base.errors import DataError
from edgevit.core.signature import InputSpec, Signature
from edgevit.core.tensors import Preprocess
from edgevit.data.calibration import (
    CalibrationSample,
    hold_out,
    leave_out,
    open_calibration,
    open_unseen,
    sample_source,
    split_off,
)
from edgevit.data.datasets import digest_arrays
from edgevit.data.images import resize_image
from helpers.refusals import line_of

SIZE = (6, 5)


def picture_of(channels: int, name: str = "photo") -> InputSpec:
    scale, offset = (1.0,) * channels, (0.0,) * channels
    return InputSpec(
        name, (None, 4, 4, channels), preparation=Preprocess(SIZE, (4, 4), None, scale, offset)
    )


PHOTO = Signature((picture_of(3),), ())
GREY = Signature((picture_of(1),), ())
FIVE = Signature((picture_of(5),), ())
POSE = Signature((InputSpec("pose", (None, 3)),), ())
BOTH = Signature((picture_of(3), InputSpec("pose", (None, 3))), ())


def draw(count: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *SIZE, channels), np.uint8)


def numbers(count: int) -> np.ndarray:
    """float32 count 3; the first column tells a row."""
    return np.stack([np.arange(count)] * 3, axis=-1).astype(np.float32)


def refusal(given, signature) -> str:
    return line_of(DataError, lambda: open_calibration(given, signature, 4))


def write_pictures(folder, images: np.ndarray):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image.squeeze()).save(folder / f"{number:03d}.png")
    return folder


# --- arrays in memory -----------------------------------------------------------------------------


def test_an_array_is_used_whole_for_the_only_input():
    photos = draw(7)
    sample = open_calibration(photos, PHOTO, 3)
    assert (list(sample.inputs), len(sample), sample.source) == (["photo"], 7, "arrays")
    assert sample.images is sample.inputs["photo"]
    np.testing.assert_array_equal(sample.images, photos)
    found = open_calibration(numbers(4).astype(np.float64), POSE, 3)
    assert found.images.dtype == np.float32


def test_arrays_by_name_serve_a_model_of_several_inputs():
    sample = open_calibration({"pose": numbers(4), "photo": draw(4)}, BOTH, 2)
    assert list(sample.inputs) == ["photo", "pose"]
    assert len(sample) == 4


def test_an_array_alone_is_refused_where_there_are_two_inputs():
    message = refusal(draw(4), BOTH)
    assert "2 inputs" in message
    assert "keys photo, pose" in message


def test_scaled_pictures_are_refused_whatever_they_come_in(tmp_path):
    scaled = draw(4) / np.float32(255)
    np.save(tmp_path / "a.npy", scaled)
    np.savez(tmp_path / "a.npz", photo=scaled)
    for given in (scaled, {"photo": scaled}, tmp_path / "a.npy", str(tmp_path / "a.npz")):
        assert "0..255" in refusal(given, PHOTO)


# --- files ----------------------------------------------------------------------------------------


def test_an_npz_keyed_by_the_inputs_keeps_rows_together(tmp_path):
    photos, poses = draw(40), numbers(40)
    np.savez(tmp_path / "both.npz", pose=poses, photo=photos, target=np.zeros(3))
    sample = open_calibration(tmp_path / "both.npz", BOTH, 10, seed=1)
    rows = sample.inputs["pose"][:, 0].astype(int)
    assert len(rows) == 10
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(sample.inputs["photo"], photos[rows])
    assert sample.source == "both.npz"


def test_the_draw_is_the_seeds(tmp_path):
    np.savez(tmp_path / "a.npz", pose=numbers(100))
    first, again, other = (
        open_calibration(tmp_path / "a.npz", POSE, 10, seed).images[:, 0] for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()
    assert len(open_calibration(tmp_path / "a.npz", POSE, 200)) == 100


@pytest.mark.parametrize("key", ["pose", "x_train", "arr_0"])
def test_an_npz_for_an_only_input_may_use_the_usual_keys(key, tmp_path):
    np.savez(tmp_path / "a.npz", **{key: numbers(4), "x_test": numbers(9)})
    assert len(open_calibration(tmp_path / "a.npz", POSE, 10)) == 4


def test_an_npz_of_pictures_with_classes_is_a_dataset(tmp_path):
    photos = draw(20)
    labels = np.repeat([0, 1], [15, 5])
    arrays = {"x_train": photos, "y_train": labels, "x_test": photos[:3], "y_test": labels[:3]}
    np.savez(tmp_path / "set.npz", **arrays)
    sample = open_calibration(tmp_path / "set.npz", PHOTO, 6)
    places = [int(np.flatnonzero((photos == image).all((1, 2, 3)))[0]) for image in sample.images]
    assert np.bincount(labels[places]).tolist() == [3, 3]
    assert sample.source == "set.npz, train"
    np.testing.assert_array_equal(open_unseen(tmp_path / "set.npz", PHOTO), photos[:3])
    assert refusal(tmp_path / "set.npz", BOTH).count("photo") == 1


def test_labels_stay_with_their_pictures(tmp_path):
    for name, seed in (("ant", 1), ("bee", 2)):
        write_pictures(tmp_path / "train" / name, draw(10, seed=seed))
    sample = open_calibration(tmp_path, PHOTO, 14)
    assert sample.class_names == ("ant", "bee")
    left, _ = leave_out(sample, sample.images[3:5])
    for part in (sample, left, *hold_out(sample)):
        for image, label in zip(part.images, part.labels, strict=True):
            assert (draw(10, seed=int(label) + 1) == image).all((1, 2, 3)).any()
    assert np.bincount(sample.labels).tolist() == [7, 7]


def test_an_npz_of_pictures_with_values_needs_no_classes(tmp_path):
    arrays = {"x_train": draw(20), "y_train": np.linspace(0, 1, 20)}
    np.savez(tmp_path / "set.npz", **arrays)
    assert len(open_calibration(tmp_path / "set.npz", PHOTO, 6)) == 6
    assert open_unseen(tmp_path / "set.npz", PHOTO) is None


def test_an_npz_without_the_inputs_says_what_it_holds_and_what_is_wanted(tmp_path):
    np.savez(tmp_path / "a.npz", foo=numbers(4), x_test=numbers(4))
    message = refusal(tmp_path / "a.npz", POSE)
    assert "holds foo, x_test" in message
    assert "the key pose" in message
    np.savez(tmp_path / "a.npz", photo=draw(4))
    assert "nothing for the input 'pose'" in refusal(tmp_path / "a.npz", BOTH)


def test_a_npy_file_holds_the_only_input(tmp_path):
    np.save(tmp_path / "five.npy", draw(9, 5))
    sample = open_calibration(tmp_path / "five.npy", FIVE, 4)
    assert sample.images.shape == (4, *SIZE, 5)
    assert type(sample.images) is np.ndarray
    assert "keys photo, pose" in refusal(tmp_path / "five.npy", BOTH)
    assert open_unseen(tmp_path / "five.npy", FIVE) is None


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4 cut short", b"\x93NUMPY\1\0"])
def test_damaged_arrays_are_one_line(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert str(tmp_path / name) in refusal(tmp_path / name, POSE)


def test_pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", pose=np.array([{"a": 1}] * 3))
    np.save(tmp_path / "a.npy", np.array([{"a": 1}] * 3))
    refusal(tmp_path / "a.npz", POSE)
    refusal(tmp_path / "a.npy", POSE)


def test_nothing_there_is_one_line(tmp_path):
    assert "no such file" in refusal(tmp_path / "nothing.npz", POSE)


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("signature", "channels"), [(PHOTO, 3), (GREY, 1)])
def test_a_folder_of_pictures_is_read_with_the_channels_of_the_model(signature, channels, tmp_path):
    images = draw(8, channels)
    sample = open_calibration(write_pictures(tmp_path / "photos", images), signature, 8)
    np.testing.assert_array_equal(sample.images, images)
    assert sample.source == "photos, pictures"
    assert open_unseen(tmp_path / "photos", signature) is None


def test_class_folders_are_resized_and_their_test_images_stay_unseen(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (10, 12, 10, 3), np.uint8)
    write_pictures(tmp_path / "train" / "ant", images[:8])
    write_pictures(tmp_path / "test" / "ant", images[8:])
    sample = open_calibration(tmp_path, PHOTO, 100)
    expected = np.stack([resize_image(image, SIZE) for image in images])
    np.testing.assert_array_equal(sample.images, expected[:8])
    np.testing.assert_array_equal(open_unseen(tmp_path, PHOTO), expected[8:])


def test_a_folder_of_npy_files_serves_a_model_of_five_channels(tmp_path):
    for number, image in enumerate(draw(3, 5)):
        np.save(tmp_path / f"{number}.npy", image)
    np.testing.assert_array_equal(open_calibration(tmp_path, FIVE, 9).images, draw(3, 5))


def test_masks_are_never_calibrated_on(tmp_path):
    images = draw(4)
    write_pictures(tmp_path / "images" / "town", images)
    write_pictures(tmp_path / "masks" / "town", images[..., 0] // 100)
    sample = open_calibration(tmp_path, PHOTO, 100)
    np.testing.assert_array_equal(sample.images, images)


@pytest.mark.parametrize(("signature", "keys"), [(BOTH, "keys photo, pose"), (POSE, "key pose")])
def test_pictures_alone_are_refused_where_the_model_takes_more(signature, keys, tmp_path):
    write_pictures(tmp_path, draw(4))
    message = refusal(tmp_path, signature)
    assert "pictures alone" in message
    assert keys in message


# --- identity -------------------------------------------------------------------------------------


def test_the_digest_of_one_input_is_that_of_its_sorted_samples():
    photos = draw(9)
    order = sorted(range(9), key=lambda index: photos[index].tobytes())
    expected = digest_arrays(photos[order])
    for name in ("images", "photo"):
        for images in (photos, photos[::-1]):
            assert CalibrationSample.of_inputs({name: images}, "x").digest == expected
    assert open_calibration(photos, PHOTO, 9).digest == expected


def test_a_digest_does_not_change_with_the_algorithm():
    images = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
    assert CalibrationSample.of_inputs({"images": images}, "x").digest == PINNED


PINNED = "0869e07edef48789411cef6fe83220685730deb6286e807a540d63c39762fd24"


def test_the_digest_of_two_inputs_does_not_depend_on_any_order_but_on_what_goes_together():
    photos, poses = draw(9), numbers(9)
    order = np.random.default_rng(3).permutation(9)
    sample = CalibrationSample.of_inputs({"photo": photos, "pose": poses}, "x")
    moved = CalibrationSample.of_inputs({"pose": poses[order], "photo": photos[order]}, "y")
    assert sample.digest == moved.digest
    others = [
        {"photo": photos, "pose": poses[order]},
        {"photo": photos, "pose": poses + 1},
        {"photo": photos, "stance": poses},
        {"photo": photos},
    ]
    digests = {sample.digest, *(CalibrationSample.of_inputs(o, "x").digest for o in others)}
    assert len(digests) == 5


def test_leaving_out_test_images_takes_the_other_inputs_along():
    photos, poses = draw(9), numbers(9)
    sample = CalibrationSample.of_inputs({"photo": photos, "pose": poses}, "x")
    left, count = leave_out(sample, photos[[2, 5]])
    assert count == 2
    assert left.inputs["pose"][:, 0].tolist() == [0, 1, 3, 4, 6, 7, 8]
    assert left.digest == sample.select(np.array([0, 1, 3, 4, 6, 7, 8])).digest
    assert leave_out(sample, draw(3, seed=9)) == (sample, 0)


# --- what is held out -----------------------------------------------------------------------------


def rows(sample: CalibrationSample) -> list[int]:
    return sample.inputs["pose"][:, 0].astype(int).tolist()


def sample_of(count: int) -> CalibrationSample:
    return open_calibration({"photo": draw(count), "pose": numbers(count)}, BOTH, count)


@pytest.mark.parametrize(
    ("count", "held"), [(10, 2), (14, 2), (15, 3), (100, 20), (319, 63), (900, 64)]
)
def test_a_fifth_is_held_out_but_no_more_than_the_limit(count, held):
    sample = sample_of(count)
    kept, aside = hold_out(sample)
    assert aside is not None
    assert len(aside) == held
    assert sorted(rows(kept) + rows(aside)) == list(range(count))
    for part in (kept, aside):
        np.testing.assert_array_equal(part.inputs["photo"], sample.inputs["photo"][rows(part)])
    assert kept.source == sample.source
    assert "held out" in aside.source
    assert len({sample.digest, kept.digest, aside.digest}) == 3
    assert len(hold_out(sample, most=2)[1]) == 2


def test_fewer_than_ten_different_samples_are_all_kept():
    sample = sample_of(9)
    assert hold_out(sample) == (sample, None)
    twice = sample.select(np.tile(np.arange(9), 3))
    assert hold_out(twice)[1] is None


def test_no_order_changes_what_is_held_out():
    sample = sample_of(60)
    order = np.random.default_rng(5).permutation(60)
    (kept, aside), (kept_2, aside_2) = hold_out(sample), hold_out(sample.select(order))
    assert set(rows(aside)) == set(rows(aside_2))
    assert (kept.digest, aside.digest) == (kept_2.digest, aside_2.digest)


def test_samples_to_learn_from_and_to_judge_by_are_different_and_no_order_changes_them():
    sample = sample_of(60)
    twice = sample.select(np.random.default_rng(5).permutation(np.tile(np.arange(60), 2)))
    learnt, judged = split_off(sample, 20, 150)
    assert (len(learnt), len(judged)) == (20, 40)
    assert not {*rows(learnt)} & {*rows(judged)}
    again = split_off(twice, 20, 150)
    assert [rows(part) for part in again] == [rows(learnt), rows(judged)]
    assert [len(part) for part in split_off(sample, 150, 10)] == [30, 10]
    assert split_off(sample_of(9), 20, 20) is None


def test_equal_samples_never_lie_on_both_sides():
    sample = sample_of(30).select(np.repeat(np.arange(30), 4))
    kept, aside = hold_out(sample)
    assert len(aside) == 6
    assert not set(rows(kept)) & set(rows(aside))
    assert len(kept) == 24 * 4


PROGRAM = """
import numpy as np
from edgevit.data.calibration import CalibrationSample, hold_out
np.random.seed(int(__import__("sys").argv[1]))
sample = CalibrationSample.of_inputs({"pose": np.arange(50, dtype=np.float32)[:, None]}, "x")
print(hold_out(sample)[1].inputs["pose"].ravel().astype(int).tolist())
"""


def test_another_process_holds_out_the_same():
    told = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, seed],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


def test_a_source_that_is_sampled_by_itself_keeps_its_name(tmp_path):
    write_pictures(tmp_path / "photos", draw(3))
    sample = sample_source(tmp_path / "photos", SIZE, 2, name="photo")
    assert list(sample.inputs) == ["photo"]
    assert len(sample) == 2

"""Datasets from folders, archives and arrays that each test draws itself."""

from __future__ import annotations

import io
import os
import stat
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevit.base.errors import ConfigError, DataError
from edgevit.data.datasets import (
    ENVIRONMENT_VARIABLE,
    ImageDataset,
    find_source,
    limit_images,
    load_dataset,
    split_validation,
)
from edgevit.data.images import resize_image
from edgevit.data.inputs import read_arrays
from helpers.refusals import line_of

CLASSES = ("ant", "bee", "cow")
Files = dict[str, bytes]  # path inside the dataset -> bytes


# --- writing datasets -----------------------------------------------------------------------------


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def write_folder(path: Path, files: Files) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def write_tar(path: Path, files: Files) -> Path:
    mode = {".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_zip(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


WRITERS: dict[str, Callable[[Path, Files], Path]] = {
    "folder": write_folder,
    "set.tar": write_tar,
    "set.tar.gz": write_tar,
    "set.tar.xz": write_tar,
    "set.tar.bz2": write_tar,
    "set.zip": write_zip,
}
ARCHIVES = [name for name in WRITERS if name != "folder"]


@pytest.fixture(scope="module")
def split_files(drawn_images) -> tuple[Files, np.ndarray]:
    """train/ with 3 and test/ with 2 images a class, in an order that is not sorted."""
    images = drawn_images(15, 8)
    files = {}
    for number in range(4, -1, -1):
        for label, name in enumerate(CLASSES):
            split = "train" if number < 3 else "test"
            files[f"{split}/{name}/{number:04d}.png"] = png(images[5 * label + number])
    return files, images.reshape(3, 5, 8, 8, 3)


@pytest.fixture(scope="module")
def flat_files(drawn_images) -> Files:
    """10 images a class, without train/ and test/."""
    images = drawn_images(30, 8, seed=1)
    return {
        f"{name}/{number}.png": png(images[10 * label + number])
        for label, name in enumerate(CLASSES)
        for number in range(10)
    }


def rows_of(dataset: ImageDataset) -> set[tuple[bytes, int]]:
    pairs = zip(dataset.images, dataset.labels, strict=True)
    return {(image.tobytes(), int(label)) for image, label in pairs}


def refusal(*arguments, **options) -> str:
    """The message of the DataError that load_dataset raises; one line, or the test fails."""
    return line_of(DataError, lambda: load_dataset(*arguments, **options))


# --- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("container", WRITERS)
def test_train_and_test_folders_are_read_pixel_for_pixel_in_sorted_order(
    container, split_files, tmp_path
):
    files, images = split_files
    path = WRITERS[container](tmp_path / container, files)
    for split, members in (("train", slice(0, 3)), ("test", slice(3, 5))):
        dataset = load_dataset(path, split)
        count = len(range(*members.indices(5)))
        np.testing.assert_array_equal(
            dataset.images, images[:, members].reshape(3 * count, 8, 8, 3)
        )
        np.testing.assert_array_equal(dataset.labels, np.repeat([0, 1, 2], count))
        assert dataset.images.dtype == np.uint8
        assert dataset.labels.dtype == np.int64
        assert (dataset.class_names, dataset.split, dataset.source) == (CLASSES, split, container)


@pytest.mark.parametrize("container", WRITERS)
def test_flat_class_folders_hold_out_the_same_fifth_of_every_class(container, flat_files, tmp_path):
    path = WRITERS[container](tmp_path / container, flat_files)
    train, test = load_dataset(path, "train"), load_dataset(path, "test")
    assert np.bincount(train.labels).tolist() == [8, 8, 8]
    assert np.bincount(test.labels).tolist() == [2, 2, 2]
    assert (train.split, test.split, train.class_names) == ("train", "test", CLASSES)
    assert rows_of(train).isdisjoint(rows_of(test))
    everything = {
        (np.asarray(Image.open(io.BytesIO(data))).tobytes(), CLASSES.index(name.split("/")[0]))
        for name, data in flat_files.items()
    }
    assert rows_of(train) | rows_of(test) == everything
    assert test.digest == load_dataset(path, "test").digest


def test_flat_layout_gives_the_same_images_from_every_container(flat_files, tmp_path):
    digests = {
        load_dataset(write(tmp_path / name, flat_files), "test").digest
        for name, write in WRITERS.items()
    }
    assert len(digests) == 1


def test_folders_above_train_and_capital_letters_do_not_matter(split_files, tmp_path):
    files = {
        f"download/v1/{name}".replace("train", "Train"): d for name, d in split_files[0].items()
    }
    dataset = load_dataset(write_tar(tmp_path / "set.tar", files), "train")
    assert (len(dataset), dataset.class_names) == (9, CLASSES)


def test_a_folder_that_holds_one_archive_stands_for_it(split_files, tmp_path):
    write_tar(tmp_path / "set.tar.gz", split_files[0])
    (tmp_path / "README.md").write_text("not an archive")
    assert load_dataset(tmp_path, "test").source == "set.tar.gz"


def test_files_that_are_no_images_are_passed_over(split_files, tmp_path):
    files = {
        **split_files[0],
        "README.md": b"text",
        "train/labels.csv": b"a,b",
        "train/ant/notes.txt": b"text",
        "train/ant/._0000.png": b"what macOS leaves in archives",
    }
    for container in ("folder", "set.tar", "set.zip"):
        assert len(load_dataset(WRITERS[container](tmp_path / container, files), "train")) == 9


def test_a_class_that_only_the_other_split_has_still_counts(split_files, tmp_path):
    files = dict(split_files[0])
    for name in [name for name in files if name.startswith("test/bee")]:
        del files[name]
    dataset = load_dataset(write_folder(tmp_path, files), "test")
    assert dataset.class_names == CLASSES
    assert dataset.labels.tolist() == [0, 0, 2, 2]


def test_npz_gives_its_own_arrays(drawn_images, tmp_path):
    images = drawn_images(6, 8)
    arrays = {
        "x_train": images[:4],
        "y_train": np.array([[2], [0], [1], [2]], np.uint8),  # Keras keeps a column of labels
        "x_test": images[4:],
        "y_test": np.array([0, 1]),
    }
    np.savez(tmp_path / "set.npz", **arrays)
    train, test = (load_dataset(tmp_path / "set.npz", split) for split in ("train", "test"))
    np.testing.assert_array_equal(train.images, images[:4])
    np.testing.assert_array_equal(test.images, images[4:])
    assert (train.labels.tolist(), test.labels.tolist()) == ([2, 0, 1, 2], [0, 1])
    assert train.labels.dtype == np.int64
    assert train.class_names == ("0", "1", "2")


def test_npz_classes_are_those_of_both_splits(drawn_images, tmp_path):
    images = drawn_images(4, 8)
    np.savez(
        tmp_path / "set.npz", x_train=images, y_train=[0, 1, 2, 3], x_test=images[:2], y_test=[0, 1]
    )
    for split in ("train", "test"):
        assert load_dataset(tmp_path / "set.npz", split).class_names == ("0", "1", "2", "3")


def test_npz_class_names_are_used(drawn_images, tmp_path):
    images = drawn_images(2, 8)
    np.savez(tmp_path / "set.npz", x_train=images, y_train=[0, 1], class_names=["yes", "no"])
    assert load_dataset(tmp_path / "set.npz", "train").class_names == ("yes", "no")


def test_images_of_mixed_sizes_are_read_at_one_given_size(drawn_images, tmp_path):
    red = np.full((5, 9, 3), (200, 10, 30), np.uint8)
    files = {"train/ant/1.png": png(red), "train/bee/1.png": png(drawn_images(1, (12, 4))[0])}
    dataset = load_dataset(write_folder(tmp_path, files), "train", size=(6, 7))
    assert dataset.images.shape == (2, 6, 7, 3)
    np.testing.assert_array_equal(dataset.images[0], np.broadcast_to(red[0, 0], (6, 7, 3)))


def test_the_digest_changes_with_one_pixel_one_label_and_the_order(drawn_dataset):
    dataset = drawn_dataset(6, 8)
    pixels, labels = dataset.images.copy(), dataset.labels.copy()
    pixels[3, 2, 1, 0] ^= 1
    labels[5] = 0
    others = [
        ImageDataset(pixels, dataset.labels, dataset.class_names, "train", "x"),
        ImageDataset(dataset.images, labels, dataset.class_names, "train", "x"),
        dataset.select(np.array([1, 0, 2, 3, 4, 5])),
    ]
    assert len({dataset.digest, *(other.digest for other in others)}) == 4
    assert dataset.select(np.arange(6)).digest == dataset.digest


def test_a_keras_dataset_is_asked_by_name(monkeypatch, drawn_images):
    import keras

    images = drawn_images(4, 32)
    labels = np.array([[9], [0], [3], [3]], np.uint8)
    answer = ((images[:3], labels[:3]), (images[3:], labels[3:]))
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: answer)
    train, test = load_dataset("cifar10", "train"), load_dataset("cifar10", "test")
    assert (train.labels.tolist(), test.labels.tolist()) == ([9, 0, 3], [3])
    np.testing.assert_array_equal(test.images, images[3:])
    assert train.class_names[9] == "truck"
    assert len(train.class_names) == 10
    assert test.class_names == train.class_names


def test_a_keras_dataset_that_cannot_be_downloaded_is_a_data_error(monkeypatch):
    import keras

    def load_data():
        raise OSError("no network\nat all")

    monkeypatch.setattr(keras.datasets.cifar100, "load_data", load_data)
    assert "--data" in refusal("cifar100")


def test_the_source_is_the_option_before_the_variable(monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "from-variable")
    assert find_source("from-option") == "from-option"
    assert find_source(None) == "from-variable"
    monkeypatch.delenv(ENVIRONMENT_VARIABLE)
    with pytest.raises(DataError, match=ENVIRONMENT_VARIABLE):
        find_source(None)


def test_cifar_test_has_a_thousand_images_of_each_class(cifar_test):
    assert cifar_test.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(cifar_test.labels).tolist() == [1000] * 10
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    assert cifar_test.class_names == tuple(names.split())


# --- nothing is unpacked --------------------------------------------------------------------------

_written: list[str] | None = None


def _watch(event: str, arguments: tuple) -> None:
    if _written is None:
        return
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    if event in ("os.mkdir", "os.rename", "os.symlink", "os.link"):
        _written.append(f"{event} {arguments[0]}")
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & writing:
        _written.append(f"open {arguments[0]}")


sys.addaudithook(_watch)  # cannot be removed again; it sleeps while _written is None


@pytest.fixture
def written() -> Iterator[list[str]]:
    """Every file or folder that Python creates or opens for writing during the test."""
    global _written
    _written = []
    yield _written
    _written = None


def test_the_watch_on_written_files_sees_a_temporary_file(written):
    with tempfile.TemporaryFile():
        pass
    assert len(written) >= 1


@pytest.mark.parametrize("container", ARCHIVES)
def test_reading_an_archive_writes_nothing_to_disk(container, split_files, tmp_path, request):
    path = WRITERS[container](tmp_path / container, split_files[0])
    written = request.getfixturevalue("written")
    assert len(load_dataset(path, "train", size=(6, 6))) == 9
    assert written == []
    assert list(tmp_path.iterdir()) == [path]


# --- splits ---------------------------------------------------------------------------------------


def numbered_dataset(counts: list[int]) -> ImageDataset:
    """One pixel an image, whose value is the image's number."""
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.random.default_rng(0).permutation(labels)
    numbers = np.arange(len(labels))
    pixels = np.stack([numbers % 256, numbers // 256, 0 * numbers], axis=-1).astype(np.uint8)
    names = tuple(f"class{number}" for number in range(len(counts)))
    return ImageDataset(pixels[:, None, None], labels, names, "train", "numbered")


def numbers_of(dataset: ImageDataset) -> np.ndarray:
    pixels = dataset.images[:, 0, 0].astype(int)
    return pixels[:, 0] + 256 * pixels[:, 1]


@pytest.mark.parametrize(("held_out", "kept"), [(1 / 6, 5), (0.2, 4), (0.5, 1)])
def test_the_validation_split_is_exact_in_every_class_and_disjoint(held_out, kept):
    dataset = numbered_dataset([60, 120, 30, 600])
    train, held = split_validation(dataset, held_out, seed=3)
    expected = np.array([60, 120, 30, 600]) // (kept + 1)
    np.testing.assert_array_equal(np.bincount(held.labels), expected)
    np.testing.assert_array_equal(np.bincount(train.labels), kept * expected)
    everything = np.concatenate([numbers_of(train), numbers_of(held)])
    np.testing.assert_array_equal(np.sort(everything), np.arange(810))
    for part in (train, held):
        np.testing.assert_array_equal(part.labels, dataset.labels[numbers_of(part)])
    assert (train.split, held.split) == ("train", "validation")


def test_fifty_thousand_images_split_into_40000_and_10000():
    train, held = split_validation(numbered_dataset([5000] * 10))
    assert np.bincount(train.labels).tolist() == [4000] * 10
    assert np.bincount(held.labels).tolist() == [1000] * 10


def test_the_validation_split_depends_on_the_seed_alone():
    dataset = numbered_dataset([50, 50])
    first = numbers_of(split_validation(dataset, 0.2, seed=1)[1])
    np.testing.assert_array_equal(numbers_of(split_validation(dataset, 0.2, seed=1)[1]), first)
    other = numbers_of(split_validation(dataset, 0.2, seed=2)[1])
    assert not np.array_equal(other, first)
    assert not np.array_equal(first, np.sort(np.concatenate([first[:10], first[:10]])))


def test_a_smaller_share_holds_out_some_of_the_images_of_a_larger_one():
    dataset = numbered_dataset([60, 200, 40])
    shares = [numbers_of(split_validation(dataset, share)[1]) for share in (0.05, 0.1, 0.2)]
    assert [len(images) for images in shares] == [15, 30, 60]
    for few, more in pairwise(shares):
        assert np.isin(few, more).all()


@pytest.mark.parametrize("held_out", [0.0, 1.0, -0.1, 2])
def test_a_share_that_holds_out_nothing_or_all_is_a_config_error(held_out):
    with pytest.raises(ConfigError, match="held_out"):
        split_validation(numbered_dataset([4, 4]), held_out)


def test_an_unknown_split_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="split='val'"):
        load_dataset(tmp_path, "val")


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["set.tar", "set.tar.gz", "set.zip"])
@pytest.mark.parametrize(
    "name",
    [
        "../train/ant/evil.png",
        "train/../../ant/evil.png",
        "/train/ant/evil.png",
        "..\\ant\\evil.png",
        "\\\\server\\ant\\evil.png",
        "C:\\ant\\evil.png",
        "../README.md",
    ],
)
def test_a_member_that_points_outside_the_archive_is_refused(
    container, name, split_files, tmp_path
):
    files = {**split_files[0], name: next(iter(split_files[0].values()))}
    (tmp_path / "inner").mkdir()
    message = refusal(WRITERS[container](tmp_path / "inner" / container, files))
    assert "outside" in message
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", container]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_passed_over(kind, split_files, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(next(iter(split_files[0].values())))
    path = write_tar(tmp_path / "set.tar", split_files[0])
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("train/ant/link.png")
        member.type = kind
        member.linkname = str(secret)
        archive.addfile(member)
    with tarfile.open(path) as archive:
        assert len(archive.getmembers()) == 16
    assert len(load_dataset(path, "train")) == 9


def test_a_symlink_in_a_zip_is_never_followed(split_files, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(next(iter(split_files[0].values())))
    path = write_zip(tmp_path / "set.zip", split_files[0])
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo("train/ant/link.png")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, str(secret))
    assert "train/ant/link.png" in refusal(path)


@pytest.mark.parametrize("container", WRITERS)
@pytest.mark.parametrize("damage", ["text", "cut", "empty"])
def test_a_corrupt_image_is_refused_by_name(container, damage, split_files, drawn_images, tmp_path):
    data = {"text": b"not a picture", "cut": png(drawn_images(1, 64)[0])[:2000], "empty": b""}
    files = {**split_files[0], "train/bee/broken.png": data[damage]}
    message = refusal(WRITERS[container](tmp_path / container, files))
    assert "train/bee/broken.png" in message


@pytest.mark.parametrize("container", ARCHIVES)
def test_an_archive_cut_anywhere_is_refused(container, split_files, tmp_path):
    whole = WRITERS[container](tmp_path / container, split_files[0])
    data = whole.read_bytes()
    members = len(data)
    if container == "set.tar":  # behind the last picture a tar holds only zeros
        members = len(data.rstrip(b"\0"))
    cut = tmp_path / f"cut-{container}"
    lengths = {int(members * share) for share in np.linspace(0.01, 0.99, 23)}
    if container == "set.tar":  # exactly between two members, where nothing looks broken
        with tarfile.open(whole) as archive:
            lengths |= {member.offset for member in archive if member.offset}
    for length in sorted(lengths):
        cut.write_bytes(data[:length])
        for split in ("train", "test"):
            assert cut.name in refusal(cut, split)


def test_a_tar_with_a_damaged_header_in_its_middle_is_refused(split_files, tmp_path):
    path = write_tar(tmp_path / "set.tar", split_files[0])
    with tarfile.open(path) as archive:
        offset = archive.getmembers()[7].offset
    data = bytearray(path.read_bytes())
    data[offset + 150] ^= 0xFF  # the header's own checksum
    path.write_bytes(data)
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("container", ["set.tar.gz", "set.tar.xz", "set.tar.bz2", "set.zip"])
def test_a_flipped_byte_never_ends_in_anything_but_a_data_error(container, split_files, tmp_path):
    path = WRITERS[container](tmp_path / container, split_files[0])
    intact = load_dataset(path, "train").digest
    data = path.read_bytes()
    # Member names in the central directory of a zip are the one part without a checksum.
    end = data.find(b"PK\x01\x02") if container == "set.zip" else len(data)
    messages = []
    for position in np.linspace(0, end - 1, 60).astype(int):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        try:
            dataset = load_dataset(path, "train")
        except DataError as error:
            messages.append(str(error))
        else:  # a byte that carries nothing, such as a time stamp or a name in the other split
            assert dataset.digest == intact
    assert len(messages) >= 30
    assert "\n" not in "".join(messages)


def test_an_encrypted_zip_is_refused(split_files, tmp_path):
    path = write_zip(tmp_path / "set.zip", split_files[0])
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = data.find(signature)
        while position >= 0:
            data[position + flags] |= 1  # bit 0 of the flags: encrypted
            position = data.find(signature, position + 4)
    path.write_bytes(data)
    assert "encrypted" in refusal(path, "train")


@pytest.mark.parametrize("container", WRITERS)
def test_a_dataset_without_images_is_refused(container, tmp_path):
    path = WRITERS[container](tmp_path / container, {"train/ant/notes.txt": b"text"})
    assert "no image" in refusal(path)


def test_an_empty_folder_is_refused(tmp_path):
    assert "no image" in refusal(tmp_path)


def test_a_missing_path_is_refused(tmp_path):
    assert "no such file or directory" in refusal(tmp_path / "nothing")


def test_a_missing_split_is_refused(split_files, tmp_path):
    files = {name: data for name, data in split_files[0].items() if name.startswith("train")}
    assert "'test'" in refusal(write_folder(tmp_path, files), "test")


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "notes.tar").write_text("plain text")
    assert "neither" in refusal(tmp_path / "notes.tar")


def test_mixed_sizes_without_a_size_are_refused(drawn_images, tmp_path):
    files = {
        "train/ant/1.png": png(drawn_images(1, 8)[0]),
        "train/ant/2.png": png(drawn_images(1, 9)[0]),
    }
    assert "2 different sizes" in refusal(write_folder(tmp_path, files))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("stray", ["ant/1.png", "other/cow/1.png"])
@pytest.mark.parametrize("missing", ["", "test/"])
def test_images_outside_of_train_and_test_are_refused(split, stray, missing, split_files, tmp_path):
    files = {name: d for name, d in split_files[0].items() if not missing or missing not in name}
    files[stray] = next(iter(files.values()))
    assert "one layout" in refusal(write_folder(tmp_path, files), split)


def test_an_unreadable_image_in_a_folder_is_refused(split_files, tmp_path, monkeypatch):
    path = write_folder(tmp_path, split_files[0])

    def read_bytes(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert "0000.png" in refusal(path)


@pytest.mark.parametrize("container", ["folder", "set.tar", "set.zip"])
def test_a_file_above_the_size_limit_is_refused(container, split_files, tmp_path, monkeypatch):
    from edgevit.data import archives

    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 1 << 20)
    big = {**split_files[0], "train/ant/big.png": bytes((1 << 20) + 1)}
    path = WRITERS[container](tmp_path / container, big)
    message = refusal(path)
    assert "big.png" in message
    assert "1 MiB" in message


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "x_train"),
        ({"x_train": np.zeros((2, 4, 4, 3), np.uint8)}, "y_train"),
        ({"x_train": np.zeros((2, 4, 4, 3), np.float32), "y_train": [0, 1]}, "float32"),
        ({"x_train": np.zeros((2, 4, 4), np.uint8), "y_train": [0, 1]}, "(2, 4, 4)"),
        ({"x_train": np.zeros((2, 4, 4, 3), np.uint8), "y_train": [0]}, "2 images"),
        ({"x_train": np.zeros((2, 4, 4, 3), np.uint8), "y_train": [0.5, 1.0]}, "integer"),
        ({"x_train": np.zeros((2, 4, 4, 3), np.uint8), "y_train": [0, -1]}, "-1"),
        ({"x_train": np.zeros((0, 4, 4, 3), np.uint8), "y_train": np.zeros(0, int)}, "0 images"),
        ({"x_train": np.array([object()]), "y_train": [0]}, "Python objects"),
        (
            {"x_train": np.zeros((2, 4, 4, 3), np.uint8), "y_train": [0, 5], "class_names": ["a"]},
            "class_names",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_npz_that_is_no_dataset_is_refused(arrays, said, tmp_path):
    np.savez(tmp_path / "set.npz", **arrays)
    assert said in refusal(tmp_path / "set.npz")


def test_a_damaged_npz_is_refused(drawn_images, tmp_path):
    path = tmp_path / "set.npz"
    np.savez_compressed(path, x_train=drawn_images(20, 8), y_train=np.zeros(20, int))
    data = path.read_bytes()
    damaged = {"cut": data[:-700], "empty": b"", "text": b"no zip", "flipped": bytearray(data)}
    damaged["flipped"][600] ^= 0xFF
    for content in damaged.values():
        path.write_bytes(content)
        assert "damaged" in refusal(path)


@pytest.mark.parametrize(
    "header",
    [
        b"\x93NUMPY\x01\x40",
        b"\x93NUMPY\x03\x00",
        b"\x93NUMPX\x01\x00",
        b"\x93NUMPY\x01\x00\x02\x00{]",
        b"\x93NUMPY\x01\x00\x10\x27" + b"-" * 10_000,
    ],
    ids=["version 1.64", "version 3.0", "magic", "no dict", "deep"],
)
def test_an_npz_with_a_damaged_array_is_refused(header, tmp_path):
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x_train", "y_train"):
            archive.writestr(f"{name}.npy", header + bytes(200))
    assert "damaged" in refusal(path)
    with pytest.raises(DataError, match="damaged"):
        read_arrays(path, ["x_train"])


def test_a_single_array_named_npz_is_refused(tmp_path):
    with (tmp_path / "set.npz").open("wb") as stream:
        np.save(stream, np.zeros(3))
    assert "damaged" in refusal(tmp_path / "set.npz")


# --- sizes ----------------------------------------------------------------------------------------


def folder_of(tmp_path: Path, sizes: list[tuple[int, int]]) -> Path:
    rng = np.random.default_rng(0)
    for number, (rows, columns) in enumerate(sizes):
        path = tmp_path / "set" / "train" / CLASSES[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(rng.integers(0, 255, (rows, columns, 3), dtype=np.uint8)))
    return tmp_path / "set"


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(8, 8), (8, 8), (8, 8)], (8, 8)),  # small ones of one size stay
        ([(12, 10), (12, 10)], (12, 10)),  # the limit itself
        ([(8, 8), (8, 8), (9, 8)], (12, 10)),  # different sizes
        ([(30, 40), (30, 40)], (12, 10)),  # too large
        ([(8, 11), (8, 11)], (12, 10)),  # too wide
    ],
)
def test_pictures_keep_their_size_up_to_a_limit_if_they_share_it(sizes, expected, tmp_path):
    found = load_dataset(folder_of(tmp_path, sizes), "train", at_most=(12, 10))
    assert found.images.shape == (len(sizes), *expected, 3)


def test_a_given_size_wins_over_the_limit(tmp_path):
    found = load_dataset(folder_of(tmp_path, [(8, 8)] * 2), "train", (5, 6), at_most=(12, 10))
    assert found.images.shape[1:3] == (5, 6)


def test_resizing_after_a_later_picture_gives_the_same_pixels_as_resizing_at_once(tmp_path):
    folder = folder_of(tmp_path, [(8, 8), (8, 8), (9, 8)])
    late = load_dataset(folder, "train", at_most=(12, 10)).images
    np.testing.assert_array_equal(late, load_dataset(folder, "train", (12, 10)).images)


# --- a part of the images -------------------------------------------------------------------------


def numbered(counts: tuple[int, ...]) -> ImageDataset:
    """So many images of each class; the first pixel of an image is its number."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.zeros((len(labels), 2, 2, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))
    return ImageDataset(images, labels, CLASSES[: len(counts)], "train", "drawn")


def test_a_limit_keeps_the_shares_of_the_classes():
    part = limit_images(numbered((100, 40, 20)), 32)
    assert np.bincount(part.labels).tolist() == [20, 8, 4]
    assert part.class_names == CLASSES
    assert part.split == "train"
    chosen = part.images[:, 0, 0, 0]
    assert len(set(chosen)) == 32
    assert (np.sort(chosen) == chosen).all()


def test_a_limit_is_a_choice_of_the_seed():
    first, again, other = (
        limit_images(numbered((100, 40, 20)), 32, seed).images[:, 0, 0, 0] for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_no_class_is_lost_to_a_limit_and_enough_images_are_left_as_they_are():
    whole = numbered((90, 9, 1))
    assert np.bincount(limit_images(whole, 5).labels).tolist() == [4, 1, 1]
    assert limit_images(whole, 100) is whole


# --- channels -------------------------------------------------------------------------------------


def write_npy(images: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, images)
    return stream.getvalue()


@pytest.mark.parametrize("container", ["folder", "set.tar", "set.zip"])
@pytest.mark.parametrize("channels", [1, 4])
def test_class_folders_are_read_with_the_channels_that_the_model_takes(
    container, channels, split_files, tmp_path
):
    files, images = split_files
    dataset = load_dataset(WRITERS[container](tmp_path / container, files), channels=channels)
    assert dataset.images.shape == (9, 8, 8, channels)
    if channels == 4:
        np.testing.assert_array_equal(dataset.images[0, ..., :3], images[0, 0])
        assert (dataset.images[..., 3] == 255).all()


@pytest.mark.parametrize("container", ["folder", "set.tar", "set.zip"])
def test_class_folders_of_five_channels_hold_npy_files(container, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 7, 5), np.uint8)
    names = ("train/ant/1.npy", "train/ant/2.npy", "train/bee/1.npy", "train/bee/2.npy")
    files = {name: write_npy(image) for name, image in zip(names, images, strict=True)}
    files["train/ant/preview.png"] = png(images[0, ..., :3].copy())
    path = WRITERS[container](tmp_path / container, files)
    dataset = load_dataset(path, channels=5)
    np.testing.assert_array_equal(dataset.images, images)
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert load_dataset(path, size=(3, 4), channels=5).images.shape == (4, 3, 4, 5)


def save_npz(path: Path, images: np.ndarray) -> Path:
    labels = np.arange(len(images)) % 2
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return path


@pytest.mark.parametrize("shape", [(4, 6, 7), (4, 6, 7, 1)])
def test_an_npz_of_one_channel_may_do_without_its_axis(shape, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    dataset = load_dataset(save_npz(tmp_path / "set.npz", images), channels=1)
    np.testing.assert_array_equal(dataset.images, images.reshape(4, 6, 7, 1))


def test_an_npz_of_another_number_of_channels_is_refused(tmp_path):
    path = save_npz(tmp_path / "set.npz", np.zeros((4, 6, 7, 3), np.uint8))
    assert "uint8 N H W 1" in refusal(path, channels=1)
    assert "uint8 N H W 5" in refusal(path, channels=5)
    assert "uint8 N H W 3" in refusal(save_npz(path, np.zeros((4, 6, 7), np.uint8)))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_images_of_an_npz_are_resized_as_pictures_are(channels, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 10, channels), np.uint8)
    path = save_npz(tmp_path / "set.npz", images)
    expected = np.stack([resize_image(image, (6, 5)) for image in images])
    for options in ({"size": (6, 5)}, {"at_most": (6, 5)}):
        found = load_dataset(path, channels=channels, **options)
        np.testing.assert_array_equal(found.images, expected)
    same = load_dataset(path, at_most=(12, 10), channels=channels)
    np.testing.assert_array_equal(same.images, images)

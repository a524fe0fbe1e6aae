"""What cannot be used is refused with one clear line, and nothing is left behind."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevit.core.golden_images import draw_images

RAW_SIZE = (12, 12)


def list_all(folder: Path) -> list[str]:
    """Names of everything below a folder, hidden files included."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def write_enormous_png(path: Path) -> None:
    """A PNG whose header promises 100,000 x 100,000 pixels."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header
    chunk += struct.pack(">I", zlib.crc32(b"IHDR" + header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["export", "shftvit", "--format", "tflite-int8"], "shiftvit"),
        (["export", "shiftvit", "--format", "tflite-int9"], "tflite-int8"),
        (["export", "shiftvit", "--format", "onnx-float32,tflight-int8"], "tflite-int8"),
        (["exprot", "shiftvit"], "export"),
        (["export", "shiftvit", "--format", "tflite-int8", "--batch", "0"], "at least 1"),
        (["export", "missing.keras", "--format", "tflite-int8"], "no such file"),
        (["export", "missing.safetensors", "--format", "tflite-int8"], "no such weights"),
        (["verify", "missing.tflite"], "no such file"),
        (["inspect", "missing.onnx"], "no such file"),
        (["evaluate", "missing.tflite", "--data", "."], "no such file"),
        (["train", "shftvit", "--data", "."], "shiftvit"),
        (["train", "shiftvit", "--recipe", "finetun", "--data", "."], "finetune"),
    ],
)
def test_a_wrong_name_is_refused_with_the_near_miss(
    command, tmp_path, monkeypatch, arguments, named
):
    monkeypatch.chdir(tmp_path)
    answer = command(*arguments)
    assert answer.code == 2
    assert named in answer.error
    assert answer.out == ""
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_json_says_the_error_as_one_document(command):
    answer = command("export", "shftvit", "--format", "tflite-int8", "--json")
    assert answer.code == 2
    assert "shiftvit" in answer.document["error"]


def test_truncated_weights_are_refused(command, tiny_run, tmp_path):
    broken = tmp_path / "weights.safetensors"
    broken.write_bytes((tiny_run / "weights.safetensors").read_bytes()[:-1000])
    answer = command(
        "export", str(broken), "--format", "onnx-float32", "--out", str(tmp_path / "o")
    )
    assert answer.code == 2
    assert "truncated" in answer.error
    assert list_all(tmp_path / "o") == []


def test_weights_with_nan_are_refused(command, tiny_run, tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(str(tiny_run / "weights.safetensors"), framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    tensors["0003"][0] = np.nan
    save_file(tensors, str(tmp_path / "weights.safetensors"), metadata)
    answer = command(
        *("export", str(tmp_path), "--format", "onnx-float32", "--out", str(tmp_path / "o"))
    )
    assert answer.code == 2
    assert "NaN" in answer.error
    assert list_all(tmp_path / "o") == []


def test_a_keras_file_with_a_lambda_is_refused_unless_trusted(command, tmp_path):
    import keras

    images = keras.Input((12, 12, 3))
    x = keras.layers.Lambda(lambda value: value / 255.0)(images)
    logits = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x))
    path = tmp_path / "scaled.keras"
    keras.Model(images, logits).save(path)
    out = tmp_path / "o"
    arguments = ("export", str(path), "--format", "tflite-float32", "--out", str(out))
    answer = command(*arguments)
    assert answer.code == 2
    assert "Lambda" in answer.error
    assert "--trust-code" in answer.error
    assert list_all(out) == []
    assert command(*arguments, "--trust-code").code == 0
    assert (out / "scaled-tflite-float32.tflite").exists()


def test_a_truncated_keras_file_is_refused(command, tmp_path):
    path = tmp_path / "short.keras"
    path.write_bytes(b"PK\x03\x04" + b"x" * 100)
    answer = command("export", str(path), "--format", "savedmodel", "--out", str(tmp_path / "o"))
    assert answer.code == 2
    assert "truncated" in answer.error


def test_an_output_folder_below_a_file_is_refused(command, tiny_run, tmp_path):
    (tmp_path / "taken").write_text("a file")
    out = tmp_path / "taken" / "exports"
    answer = command("export", str(tiny_run), "--format", "onnx-float32", "--out", str(out))
    assert answer.code == 1
    assert "cannot be written" in answer.error
    assert (tmp_path / "taken").read_text() == "a file"


def test_a_full_disk_leaves_nothing_behind(command, tiny_run, tmp_path, monkeypatch):
    from edgevit.base import files

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", no_space)
    answer = command("export", str(tiny_run), "--format", "tflite-int8", "--out", str(tmp_path))
    assert answer.code == 1
    assert "No space left" in answer.error
    assert list_all(tmp_path) == []


def test_a_calibration_folder_without_an_image_is_refused(command, tiny_run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no picture here")
    answer = command(
        *("export", str(tiny_run), "--format", "tflite-int8", "--out", str(tmp_path / "o")),
        *("--calibration", str(tmp_path / "empty")),
    )
    assert answer.code == 2
    assert "no image" in answer.error
    assert list_all(tmp_path / "o") == []


def test_an_archive_that_leaves_its_folder_is_refused(command, exported, tmp_path):
    stream = io.BytesIO()
    Image.fromarray(draw_images(1, RAW_SIZE)[0]).save(stream, "PNG")
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("test/cat/../../../escaped.png")
        member.size = len(stream.getvalue())
        archive.addfile(member, io.BytesIO(stream.getvalue()))
    answer = command("evaluate", str(exported["onnx-float32"]), "--data", str(path))
    assert answer.code == 2
    assert "outside" in answer.error
    assert list_all(tmp_path) == ["evil.tar"]


def test_pictures_that_cannot_be_read_are_refused(command, exported, tmp_path):
    (tmp_path / "corrupt.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    (tmp_path / "text.png").write_text("text")
    write_enormous_png(tmp_path / "enormous.png")
    for name in ("corrupt.jpg", "text.png", "enormous.png", "missing.png"):
        answer = command("predict", str(exported["onnx-float32"]), str(tmp_path / name))
        assert answer.code == 2, name
        assert name in answer.error
        assert answer.out == ""


def test_a_picture_of_another_size_is_resized_and_answered(command, exported, tmp_path):
    Image.fromarray(draw_images(1, (40, 30))[0]).save(tmp_path / "other.png")
    answer = command("predict", str(exported["tflite-int8"]), str(tmp_path / "other.png"), "--json")
    assert answer.code == 0
    (entry,) = answer.document
    shares = [found["probability"] for found in entry["classes"]]
    assert len(shares) == 3
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("name", ["tflite-int8", "tflite-float32", "onnx-float32"])
@pytest.mark.parametrize("manifest", [True, False])
def test_one_flipped_bit_fails_verification(command, copied, name, manifest):
    path = copied(name, manifest=manifest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    answer = command("verify", str(path), "--json")
    assert answer.code == 1
    assert answer.document["verdict"] == "fail"
    assert answer.document["damage"]


def test_a_changed_savedmodel_fails_verification(command, copied):
    path = copied("savedmodel", manifest=False)
    variables = path / "variables" / "variables.data-00000-of-00001"
    data = bytearray(variables.read_bytes())
    data[len(data) // 2] ^= 1
    variables.write_bytes(bytes(data))
    answer = command("verify", str(path), "--json")
    assert answer.code == 1
    assert answer.document["verdict"] == "fail"


@pytest.mark.parametrize("content", [b"", b"text, not a model", bytes(range(256)) * 64])
@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_a_file_of_another_kind_is_never_a_pass(command, tmp_path, suffix, content):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    answer = command("verify", str(path))
    assert answer.code in (1, 2)
    assert path.name in answer.error


@pytest.mark.parametrize("name", ["tflite-int8", "onnx-float32"])
def test_a_truncated_file_is_never_a_pass(command, copied, name):
    path = copied(name, manifest=False)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    answer = command("verify", str(path))
    assert answer.code in (1, 2)
    assert path.name in answer.out + answer.err
    assert "Traceback" not in answer.err

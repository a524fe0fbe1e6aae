"""The seal: one changed byte anywhere in a file or a folder shows, without any manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevit.core.seal import BLANK, SEAL_KEY, find_damage, seal

CONTENT = (
    b"\x00weights\xff" * 20 + b"edgevit.manifest" + b'"' + BLANK.encode() + b'"' + b"more\x00" * 10
)


@pytest.fixture
def sealed(tmp_path) -> Path:
    path = tmp_path / "net.tflite"
    path.write_bytes(CONTENT)
    seal(path)
    return path


@pytest.fixture
def sealed_folder(tmp_path) -> Path:
    folder = tmp_path / "net"
    for name in ("saved_model.pb", "variables/values", f"assets.extra/{SEAL_KEY}.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    seal(folder)
    return folder


def test_a_sealed_file_is_whole_and_keeps_its_length(sealed):
    assert find_damage(sealed) == ""
    assert len(sealed.read_bytes()) == len(CONTENT)
    assert BLANK.encode() not in sealed.read_bytes()


def test_every_single_changed_byte_shows(sealed):
    data = sealed.read_bytes()
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 1
        sealed.write_bytes(broken)
        assert find_damage(sealed)


@pytest.mark.parametrize("extra", [b"x", b"\x00"])
def test_bytes_added_at_the_end_show(sealed, extra):
    sealed.write_bytes(sealed.read_bytes() + extra)
    assert "changed since" in find_damage(sealed)


def test_bytes_cut_off_show(sealed):
    data = sealed.read_bytes()
    sealed.write_bytes(data[:-1])
    assert "changed since" in find_damage(sealed)
    sealed.write_bytes(data[: data.index(b"edgevit-seal") + 40])
    assert find_damage(sealed) == "its seal is damaged"


def test_two_seals_are_damage(sealed):
    sealed.write_bytes(sealed.read_bytes() * 2)
    assert find_damage(sealed) == "its seal is damaged"


def test_a_folder_that_lost_its_seal_is_damaged_if_a_manifest_is_there(sealed_folder):
    seal_file = sealed_folder / "assets.extra" / f"{SEAL_KEY}.json"
    seal_file.unlink()
    assert find_damage(sealed_folder) == ""  # nothing says that it is ours
    seal_file.with_name("edgevit.manifest.json").write_text("{}")
    assert "its seal is missing" in find_damage(sealed_folder)


def test_a_file_without_a_seal_is_not_judged(tmp_path):
    path = tmp_path / "foreign.tflite"
    path.write_bytes(b"anything")
    assert find_damage(path) == ""


@pytest.mark.parametrize("content", [b"no seal", CONTENT * 2])
def test_only_a_file_with_exactly_one_blank_seal_can_be_sealed(tmp_path, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="expected one blank seal"):
        seal(path)
    assert path.read_bytes() == content


def test_a_sealed_folder_is_whole(sealed_folder):
    assert find_damage(sealed_folder) == ""


def test_every_change_in_a_folder_shows(sealed_folder):
    values = sealed_folder / "variables" / "values"
    text = values.read_text()
    values.write_text(text + "x")
    assert "changed since" in find_damage(sealed_folder)
    values.unlink()
    assert "changed since" in find_damage(sealed_folder)
    values.write_text(text)
    assert find_damage(sealed_folder) == ""
    (sealed_folder / "added").touch()
    assert "changed since" in find_damage(sealed_folder)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'"edgevit-seal-sha256:"'])
def test_a_damaged_seal_of_a_folder_shows(sealed_folder, content):
    (sealed_folder / "assets.extra" / f"{SEAL_KEY}.json").write_bytes(content)
    assert find_damage(sealed_folder)


def test_a_folder_without_a_seal_is_not_judged(sealed_folder):
    (sealed_folder / "assets.extra" / f"{SEAL_KEY}.json").unlink()
    assert find_damage(sealed_folder) == ""

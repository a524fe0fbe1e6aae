"""A signature tells who exported a file: what is forged, changed or unsigned is not trusted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgevit.base.errors import ConfigError
from edgevit.core.parity import Verdict
from edgevit.core.seal import BLANK, find_damage, seal
from edgevit.verbs.verify import verify
from edgevit.verification import signing

serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")

SOURCE = next((Path(__file__).parents[2] / "golden" / "first_version").glob("*onnx-float32.onnx"))


def write_keys(folder: Path, name: str = "key") -> tuple[Path, Path]:
    key = ed25519.Ed25519PrivateKey.generate()
    none = serialization.NoEncryption()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    pem = serialization.Encoding.PEM
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(pem, form))
    return private, public


@pytest.fixture
def signed(tmp_path) -> tuple[Path, Path]:
    """(a signed file, the public key)."""
    private, public = write_keys(tmp_path)
    path = tmp_path / SOURCE.name
    path.write_bytes(SOURCE.read_bytes())
    signing.sign_file(path, signing.read_private_key(private))
    return path, public


def reseal(path: Path, data: bytes) -> None:
    """What a forger does: other bytes under a whole seal."""
    start = data.index(b"edgevit-seal-sha256:")
    path.write_bytes(data[:start] + BLANK.encode() + data[start + len(BLANK) :])
    seal(path)
    assert find_damage(path) == ""


def test_a_signed_file_is_trusted(signed):
    path, public = signed
    assert signing.find_distrust(path, signing.read_public_key(public)) == ""
    assert verify(path, trust=public).verdict is Verdict.PASS


def test_an_unsigned_file_is_called_so(signed):
    path, public = signed
    signing.signature_path(path).unlink()
    found = verify(path, trust=public)
    assert found.verdict is Verdict.FAIL
    assert "it is unsigned" in found.damage
    assert verify(path).verdict is Verdict.PASS  # nobody asked


@pytest.mark.parametrize("number", range(10))
def test_a_forged_and_resealed_file_is_refused(signed, number):
    path, public = signed
    data = bytearray(path.read_bytes())
    data[100 + 997 * number] ^= 1 << number % 8
    reseal(path, bytes(data))
    found = verify(path, trust=public)
    assert found.verdict is Verdict.FAIL
    assert "not the file that was signed" in found.damage


def test_a_file_that_another_key_signed_is_refused(signed, tmp_path):
    path, public = signed
    private, _ = write_keys(tmp_path, "forger")
    signing.sign_file(path, signing.read_private_key(private))
    assert "another key" in signing.find_distrust(path, signing.read_public_key(public))


def test_a_forger_who_names_the_trusted_key_is_refused(signed, tmp_path):
    path, public = signed
    place = signing.signature_path(path)
    trusted = json.loads(place.read_text())
    private, _ = write_keys(tmp_path, "forger")
    signing.sign_file(path, signing.read_private_key(private))
    forged = {**json.loads(place.read_text()), "public_key": trusted["public_key"]}
    place.write_text(json.dumps(forged))
    assert "not the file" in signing.find_distrust(path, signing.read_public_key(public))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "sha256": 3}', "\x00"])
def test_a_damaged_signature_is_refused(signed, text):
    path, public = signed
    signing.signature_path(path).write_text(text)
    assert "damaged" in signing.find_distrust(path, signing.read_public_key(public))


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAA\n"])
def test_what_is_no_key_is_one_line_with_a_remedy(tmp_path, content):
    path = tmp_path / "key"
    path.write_bytes(content)
    for read in (signing.read_private_key, signing.read_public_key):
        with pytest.raises(ConfigError, match="openssl") as caught:
            read(path)
        assert "\n" not in str(caught.value)

"""Who exported a file: an ed25519 signature beside it, which the seal inside is not.

The seal has no key: whoever changes a file can seal it again. A signature can be made by the owner
of a private key alone, and is checked with the public one. What is signed is the sha256 of the
whole file or folder.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevit.base.bounds import read_bounded
from edgevit.base.documents import VERSION, parse_object, read_document, read_text, to_json
from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.base.files import digest_path, write_whole
from edgevit.base.packages import Need, require

SUFFIX = ".signature"
NEEDS = (Need("cryptography", "sign"),)
KEY_BYTES = 1 << 16
NOUN = "its signature"
_MESSAGE = "edgevit-signature-1\n{}\n"  # so that nothing that was signed for another end fits


@dataclass(frozen=True)
class Signature:
    """What lies beside a signed file.

    Attributes:
        sha256: of the file, as hex.
        public_key: of whoever signed it, 32 bytes as base64.
        signature: 64 bytes as base64.
    """

    sha256: str
    public_key: str
    signature: str


def signature_path(path: Path) -> Path:
    """Where the signature of a file lies: beside it, with its whole name."""
    return path.with_name(path.name + SUFFIX)


def read_private_key(path: Path) -> Any:
    """The key that signs.

    Args:
        path: PEM or OpenSSH, without a password.

    Raises:
        MissingDependencyError: cryptography is not installed.
        ConfigError: it cannot be read, is protected by a password, or no ed25519 key.
    """
    require("Signing", NEEDS)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        load_pem_private_key,
        load_ssh_private_key,
    )

    data = read_bounded(path, KEY_BYTES, ConfigError)
    load = load_ssh_private_key if b"OPENSSH" in data else load_pem_private_key
    try:
        key = load(data, None)
    except Exception as error:  # the library raises many types, also for a missing password
        raise ConfigError(
            f"{path}: no private key without a password ({type(error).__name__}). Make one: "
            "openssl genpkey -algorithm ed25519 -out key.pem"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: is no ed25519 key.")
    return key


def read_public_key(path: Path) -> Any:
    """The key that is trusted.

    Args:
        path: PEM or OpenSSH.

    Raises:
        MissingDependencyError: cryptography is not installed.
        ConfigError: it cannot be read, or is no ed25519 key.
    """
    require("Checking a signature", NEEDS)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import (
        load_pem_public_key,
        load_ssh_public_key,
    )

    data = read_bounded(path, KEY_BYTES, ConfigError)
    load = load_ssh_public_key if data.startswith(b"ssh-") else load_pem_public_key
    try:
        key = load(data)
    except Exception as error:  # likewise
        raise ConfigError(
            f"{path}: no public key ({type(error).__name__}). Write that of a private one: "
            "openssl pkey -in key.pem -pubout -out key.pub"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path}: is no ed25519 key.")
    return key


def sign_file(path: Path, key: Any) -> Path:
    """Writes the signature of a published file beside it.

    Args:
        path: of the file or folder.
        key: of :func:`read_private_key`.

    Raises:
        OutputError: it cannot be written.
    """
    digest = digest_path(path)
    made = Signature(
        digest,
        _text(key.public_key().public_bytes_raw()),
        _text(key.sign(_MESSAGE.format(digest).encode())),
    )
    place = signature_path(path)
    document = {"version": VERSION, "file": path.name, **vars(made)}
    write_whole(place, (to_json(document, indent=2) + "\n").encode())
    return place


def find_distrust(path: Path, key: Any) -> str:
    """Why a file is not one that the owner of a key signed; empty if it is.

    Args:
        path: of the file or folder.
        key: of :func:`read_public_key`.
    """
    from cryptography.exceptions import InvalidSignature

    place = signature_path(path)
    if not place.exists():
        return f"it is unsigned: no {place.name} lies beside it"
    try:
        text = read_text(place, NOUN)
        found = read_document(Signature, parse_object(text, str(place), NOUN), str(place), NOUN)
        signature = base64.b64decode(found.signature, validate=True)
    except (ModelFileError, ValueError):
        return f"its signature is damaged ({place.name})"
    if found.public_key != _text(key.public_bytes_raw()):
        return f"it was signed with another key ({fingerprint(found.public_key)})"
    try:
        key.verify(signature, _MESSAGE.format(digest_path(path)).encode())
    except InvalidSignature:
        return "it is not the file that was signed: it changed, or the signature is another's"
    return ""


def fingerprint(public_key: str) -> str:
    """A key in a few characters, such as "ed25519:4f1c...": the sha256 of its text."""
    return f"ed25519:{hashlib.sha256(public_key.encode()).hexdigest()[:16]}"


def describe_key(key: Any) -> str:
    """:func:`fingerprint` of a public key."""
    return fingerprint(_text(key.public_bytes_raw()))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")

"""An exported file and its papers. Nothing is an artifact without a manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgevit.base.documents import VERSION, to_json
from edgevit.base.errors import ModelFileError
from edgevit.base.files import write_whole
from edgevit.core.tensors import Preprocess, TensorSpec

MANIFEST_KEY = "edgevit.manifest"
REFERENCE_KEY = "edgevit.reference"
MANIFEST_SUFFIX = ".manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What an exported file is, where it came from and what was done to it.

    Attributes:
        model: name of the architecture or of the .keras file.
        target: ``<format>-<precision>``.
        class_names: of the logits; empty if unknown.
        preprocess: raw pixels to network input; None where the caller does it all.
        preprocess_inside: whether the file does it (raw uint8 image in) or the caller must.
        inputs: as the runtime declares them.
        outputs: likewise; quantised outputs keep their integer type here.
        steps: what was done, in order.
        versions: of the tools that took part.
        weights_sha256: digest of the Keras weights.
        calibration: identity of the images or ranges behind an int8 file.
        reference_sha256: digest of golden images and float logits.
    """

    model: str
    target: str
    class_names: tuple[str, ...]
    preprocess: Preprocess | None
    preprocess_inside: bool
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    steps: tuple[str, ...]
    versions: dict[str, str]
    weights_sha256: str
    calibration: dict[str, Any] | None = None
    reference_sha256: str = ""

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values, with the document's version."""
        return {"version": VERSION, **json.loads(to_json(self))}

    @classmethod
    def from_document(cls, document: dict[str, Any], name: str) -> Manifest:
        """Reads :meth:`to_document`.

        Raises:
            ModelFileError: damaged, or written by a newer version.
        """
        try:
            version = document["version"]
            if version > VERSION:
                raise ModelFileError(
                    f"{name}: written by a newer edgevit (document version {version}). Upgrade."
                )
            values = {key: document[key] for key in cls.__dataclass_fields__}
            contract = values["preprocess"]
            values["preprocess"] = Preprocess(**contract) if contract else None
            for side in ("inputs", "outputs"):
                values[side] = tuple(
                    TensorSpec(spec["name"], tuple(spec["shape"]), spec["dtype"])
                    for spec in values[side]
                )
            for key in ("class_names", "steps"):
                values[key] = tuple(values[key])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"{name}: its manifest is damaged ({error!r}).") from None


@dataclass(frozen=True)
class Artifact:
    """One exported file or folder.

    Attributes:
        path: where it is.
        sha256: of its content.
        size_bytes: of its content.
        manifest: its papers.
    """

    path: Path
    sha256: str
    size_bytes: int
    manifest: Manifest = field(repr=False)

    @property
    def manifest_path(self) -> Path:
        """Where the papers lie beside the file."""
        return manifest_path(self.path)

    def write_manifest(self) -> None:
        """Writes the papers beside the file, whole."""
        document = {
            "file": self.path.name,
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            **self.manifest.to_document(),
        }
        write_whole(self.manifest_path, (to_json(document, indent=2) + "\n").encode())


def manifest_path(path: Path) -> Path:
    """Where the manifest of a file lies: beside it, with its whole name."""
    return path.with_name(path.name + MANIFEST_SUFFIX)


def read_manifest_file(path: Path) -> dict[str, Any] | None:
    """The document beside a file; None where there is none.

    Raises:
        ModelFileError: there is one, but it is no JSON.
    """
    beside = manifest_path(path)
    if not beside.exists():
        return None
    try:
        document = json.loads(beside.read_text())
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{beside}: the manifest cannot be read ({error}).") from None
    if not isinstance(document, dict):
        raise ModelFileError(f"{beside}: the manifest is no JSON object.")
    return document

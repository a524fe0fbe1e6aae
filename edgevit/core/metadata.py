"""The documents inside an exported file: what it is, and what the float model returned."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from edgevit.base.documents import parse_json, to_json
from edgevit.base.errors import ModelFileError
from edgevit.core.manifest import NOUN, Manifest
from edgevit.core.reference import ReferenceSet
from edgevit.core.seal import BLANK, SEAL_KEY

MANIFEST_KEY = "edgevit.manifest"
REFERENCE_KEY = "edgevit.reference"
LABELS_KEY = "edgevit.labels"
PREPROCESS_KEY = "edgevit.preprocess"
SAVEDMODEL_FOLDER = "assets.extra"  # of a SavedModel: a JSON file for each document


class EmbeddedMetadata:
    """A file's own metadata; its documents are read when they are asked for.

    Args:
        path: the file.
        metadata: text documents that travel inside it, by key.
    """

    def __init__(self, path: Path, metadata: dict[str, str]):
        self.path = path
        self.metadata = metadata

    @cached_property
    def manifest(self) -> Manifest | None:
        """What the file is; None for a file of another tool.

        Raises:
            ModelFileError: it is damaged, or written by a newer version.
        """
        if MANIFEST_KEY not in self.metadata:
            return None
        document = parse_json(self.metadata[MANIFEST_KEY], str(self.path), NOUN)
        return Manifest.from_document(document, self.path.name)

    @cached_property
    def reference(self) -> ReferenceSet:
        """The golden inputs, and the float model's outputs on them.

        Raises:
            ModelFileError: there is none, it is damaged, or not the one that was recorded.
        """
        if self.manifest is None or REFERENCE_KEY not in self.metadata:
            raise ModelFileError(
                f"{self.path}: carries no reference outputs, so there is nothing to hold it "
                "against. Files that 'edgevit export' writes do. For a file of another tool name "
                "the float model: edgevit verify FILE --against MODEL."
            )
        text = self.metadata[REFERENCE_KEY]
        document = parse_json(text, str(self.path), "its embedded reference")
        found = ReferenceSet.from_document(document, self.path.name)
        if found.digest != self.manifest.reference_sha256:
            raise ModelFileError(
                f"{self.path}: its reference outputs are not those that were recorded."
            )
        return found


def write_metadata(manifest: Manifest, reference: ReferenceSet) -> dict[str, str]:
    """The text documents that travel inside every exported file, by key.

    ``edgevit.manifest``: what the file is. ``edgevit.reference``: golden inputs and float outputs.
    ``edgevit.labels``: class names, a JSON list. ``edgevit.preprocess``: the contract.
    ``edgevit.seal``: sha256 of the file with the seal itself blank.
    """
    return {
        MANIFEST_KEY: to_json(manifest.to_document()),
        REFERENCE_KEY: to_json(reference.to_document()),
        LABELS_KEY: to_json(manifest.class_names),
        PREPROCESS_KEY: to_json(manifest.preprocess),
        SEAL_KEY: to_json(BLANK),
    }

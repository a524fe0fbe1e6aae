"""The manifest inside an exported file and beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from edgevit.base.documents import VERSION, read_document, read_object, to_json, to_plain
from edgevit.base.errors import ModelFileError
from edgevit.base.files import digest_path, write_whole
from edgevit.core.drift import Trace
from edgevit.core.signature import InputSpec, OutputSpec, Role, Signature
from edgevit.core.tensors import Preprocess, TensorSpec
from edgevit.core.tolerance import Rounding

MANIFEST_SUFFIX = ".manifest.json"
RUNS = "runs"  # key of the file beside: what the verification at export measured
NOUN = "its manifest"  # what errors call it
CLASSIFICATION = "classification"
# Fields that files from before may lack.
ADDED = ("task", "signature", "errors", "traces", "author", "license", "roundings")


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
        reference_sha256: digest of golden inputs and float outputs.
        task: what the model is for, a key of :data:`edgevit.tasks.TASKS`.
        signature: of the model: what a caller hands over and what the outputs mean. Files from
            before it was written are classifiers of RGB images.
        errors: what each column of each output lost on the golden inputs when the file was written,
            see :func:`edgevit.core.drift.record_errors`; None where nothing is rounded.
        traces: how it was rounded then, see :func:`edgevit.core.drift.record_traces`; likewise.
        author: of the model, as the exporter was told; empty if it was not.
        license: likewise.
        roundings: of outputs that float32 rounding alone moves by more than exact arithmetic is
            allowed, see :mod:`edgevit.frontend.record_rounding`; None where there are none.
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
    task: str = CLASSIFICATION
    signature: Signature | None = None
    errors: dict[str, tuple[float, ...]] | None = None
    traces: tuple[Trace, ...] | None = None
    author: str = ""
    license: str = ""
    roundings: dict[str, Rounding] | None = None

    @property
    def model_signature(self) -> Signature:
        """The signature; of files from before it was written, from what they say else."""
        if self.signature is not None:
            return self.signature
        contract = self.preprocess
        entering = self.inputs[0].shape
        if contract is not None and len(entering) == 4:
            entering = (entering[0], *contract.network_size, entering[-1])
        outputs = tuple(
            OutputSpec(spec.name, spec.shape, spec.dtype, Role.LOGITS if place == 0 else Role.MAP)
            for place, spec in enumerate(sorted(self.outputs, key=lambda s: s.name != "logits"))
        )
        inputs = (InputSpec(self.inputs[0].name, entering, "float32", contract),)
        return Signature(inputs, outputs)

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values, with the document's version."""
        found = {"version": VERSION, **to_plain(self)}
        if self.roundings is None:
            del found["roundings"]
        return found

    @classmethod
    def from_document(cls, document: Any, name: str) -> Manifest:
        """Reads :meth:`to_document`.

        Raises:
            ModelFileError: damaged, or written by a newer version.
        """
        found = read_document(cls, document, name, NOUN)
        # It is written whole. A default for what is lost would be a guess, about the pixels say.
        lost = [
            part.name
            for part in fields(cls)
            if part.name not in document and part.name not in ADDED
        ]
        if found.preprocess:
            lost += [
                part.name for part in fields(Preprocess) if part.name not in document["preprocess"]
            ]
        for side, kind in (("inputs", InputSpec), ("outputs", OutputSpec)):
            for spec in (document.get("signature") or {}).get(side, ()):
                lost += [part.name for part in fields(kind) if part.name not in spec]
                contract = spec.get("preparation") or {}
                lost += [p.name for p in fields(Preprocess) if contract and p.name not in contract]
        sides = found.signature or found
        lost += [side for side in ("inputs", "outputs") if not getattr(sides, side)]
        if lost:
            raise ModelFileError(f"{name}: {NOUN} is damaged (it lacks `{lost[0]}`).")
        return found


@dataclass(frozen=True)
class Artifact:
    """One exported file or folder. Nothing is an artifact without a manifest.

    Attributes:
        path: where it is.
        sha256: of its content.
        size_bytes: of its content.
        manifest: what it is.
    """

    path: Path
    sha256: str
    size_bytes: int
    manifest: Manifest = field(repr=False)

    @property
    def manifest_path(self) -> Path:
        """Where the manifest lies beside the file."""
        return manifest_path(self.path)

    def write_manifest(self, runs: Sequence[Mapping[str, Any]] = ()) -> None:
        """Writes the manifest beside the file, whole.

        Args:
            runs: what its verification measured, as "edgevit verify --json" says it.
        """
        document = {
            "file": self.path.name,
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            **self.manifest.to_document(),
            **({RUNS: list(runs)} if runs else {}),
        }
        write_whole(self.manifest_path, (to_json(document, indent=2) + "\n").encode())


def manifest_path(path: Path) -> Path:
    """Where the manifest of a file lies: beside it, with its whole name."""
    return path.with_name(path.name + MANIFEST_SUFFIX)


def read_manifest_file(path: Path) -> dict[str, Any] | None:
    """The document beside a file; None where there is none.

    Raises:
        ModelFileError: there is one, but it is no JSON object.
    """
    beside = manifest_path(path)
    if not beside.exists():
        return None
    return read_object(beside, "the manifest")


def find_change(path: Path) -> str:
    """Why a file is not the one that the manifest beside it was written for.

    Returns:
        Empty if it is, or where no manifest lies beside it.

    Raises:
        ModelFileError: the manifest is no JSON object.
    """
    document = read_manifest_file(path)
    if document is None:
        return ""
    actual, expected = digest_path(path), document.get("sha256")
    if actual == expected:
        return ""
    return (
        f"its sha256 is {actual[:12]}..., where the manifest beside it says "
        f"{str(expected)[:12]}...: it changed after it was exported"
    )

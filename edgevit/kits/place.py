"""What a place must say, and what kits of several places share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from edgevit.base.documents import to_json
from edgevit.kits.subject import Subject, describe, describe_goldens

Files = dict[str, bytes]  # content by name


@dataclass(frozen=True)
class Place:
    """Where a kit runs.

    Attributes:
        name: as typed on the command line.
        summary: one line for people.
        build: ``(subject, **arguments) -> Files``, written "module:attribute"; raises ConfigError
            for a file that cannot run there.
        self_test: the command that runs the kit's self-test.
        arguments: of ``build``, where several places share it.
    """

    name: str
    summary: str
    build: str
    self_test: str
    arguments: Mapping[str, str] = field(default_factory=dict)


def read_templates(folder: str, words: Mapping[str, Any]) -> Files:
    """The templates of a place with ``@WORD@`` replaced.

    Args:
        folder: below templates/.
        words: values by word.
    """
    place = resources.files("edgevit.kits") / "templates" / folder
    found = {}
    for file in sorted(place.iterdir(), key=lambda entry: entry.name):
        if not file.is_file():
            continue
        text = file.read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(f"@{word}@", str(value))
        found[file.name] = text.encode()
    return found


# One of these is in every kit, and in no other folder.
MARKS = ("kit.json", "model_run.cc")


def describe_files(subject: Subject) -> Files:
    """The exported file itself, and what kits of Python and the web read beside it."""
    labels = "".join(f"{' '.join(name.split())}\n" for name in subject.manifest.class_names)
    return {
        subject.path.name: subject.path.read_bytes(),
        "kit.json": (to_json(describe(subject), indent=1) + "\n").encode(),
        "golden.json": (to_json(describe_goldens(subject)) + "\n").encode(),
        **({"labels.txt": labels.encode()} if labels else {}),
    }


def common_words(subject: Subject) -> dict[str, str]:
    """Words of every README, each in one line."""
    manifest = subject.manifest
    sides = [
        ", ".join(f"`{spec.name}` ({spec.dtype})" for spec in side)
        for side in (manifest.inputs, manifest.outputs)
    ]
    words = {
        "MODEL": manifest.model,
        "FILE": subject.path.name,
        "TARGET": manifest.target,
        "TASK": manifest.task,
        "INPUTS": sides[0],
        "OUTPUTS": sides[1],
    }
    return {word: " ".join(text.split()) for word, text in words.items()}

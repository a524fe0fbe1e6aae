"""The packages that a verb needs, asked for before it begins."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass

from edgevit.base.errors import MissingDependencyError


@dataclass(frozen=True)
class Need:
    """A package that something needs.

    Attributes:
        package: name to import.
        extra: of edgevit, that brings it.
    """

    package: str
    extra: str

    @property
    def distribution(self) -> str:
        """Name that it is installed by."""
        return self.package.replace("_", "-")


KERAS = (Need("keras", "tensorflow"), Need("tensorflow", "tensorflow"))
PICTURES = (Need("matplotlib", "pictures"),)
REPORT = (Need("jinja2", "report"),)
TRAINING = (Need("keras", "train"), Need("tensorflow", "train"), Need("matplotlib", "train"))


def is_importable(package: str) -> bool:
    """Whether a package is here. Imports nothing of it."""
    return importlib.util.find_spec(package) is not None


def find_missing(needs: Iterable[Need]) -> list[Need]:
    """The needs whose package is not installed, each once."""
    return [need for need in dict.fromkeys(needs) if not is_importable(need.package)]


def require(purpose: str, needs: Iterable[Need]) -> None:
    """Asks for packages before anything slow begins.

    Args:
        purpose: what needs them, as the subject of a sentence.
        needs: the packages.

    Raises:
        MissingDependencyError: some are not installed; all of them are named, with their extras.
    """
    missing = find_missing(needs)
    if missing:
        extras = dict.fromkeys(need.extra for need in missing)
        packages = [need.package for need in missing]
        raise MissingDependencyError(packages, ",".join(extras), purpose)

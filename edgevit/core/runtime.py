"""Runtimes of exported files: one row a runtime and kernel set."""

from __future__ import annotations

from dataclasses import dataclass

from edgevit.base.packages import Need
from edgevit.core.format import Format


@dataclass(frozen=True)
class Runtime:
    """A runtime with one of its kernel sets, as users name it.

    Attributes:
        name: as typed on the command line.
        format: what it reads.
        kernels: its kernel set.
        session: ``(path, kernels, threads) -> Session``, written "module:attribute".
        library: module that is the runtime.
        extra: of edgevit, that brings it.
        device: what it computes on.
        slow: whether its kernels are written for clarity, not for speed: a verification runs as
            many golden images in them as time allows, other kernels run all.
        find_end: ``path -> str``, written "module:attribute": what of a file may make its kernels
            end the process on some inputs, or nothing. Such a file runs in a process of its own.
    """

    name: str
    format: Format
    kernels: str
    session: str
    library: str
    extra: str
    device: str = "cpu"
    slow: bool = False
    find_end: str = ""

    @property
    def need(self) -> Need:
        """The package that the library comes with."""
        return Need(self.library.partition(".")[0], self.extra)

    @property
    def package(self) -> str:
        """Name of the distribution that the library comes with."""
        return self.need.distribution

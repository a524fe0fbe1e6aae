"""tf2onnx with the same result in every process.

Its optimizers walk over sets of names and of nodes, whose order follows from hashes and addresses
and so changes from one process to the next; which of two equal rewrites comes first then decides
what the graph looks like. While the context lasts, its modules get sets that keep their order.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, MutableSet
from typing import Any


class OrderedSet(MutableSet):
    """A set that is walked in the order in which its members came."""

    def __init__(self, members: Iterable[Any] = ()):
        self._members = dict.fromkeys(members)

    def __contains__(self, member: object) -> bool:
        return member in self._members

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def add(self, value: Any) -> None:
        self._members[value] = None

    def discard(self, value: Any) -> None:
        self._members.pop(value, None)

    def update(self, *others: Iterable[Any]) -> None:
        for other in others:
            self._members.update(dict.fromkeys(other))

    def union(self, *others: Iterable[Any]) -> OrderedSet:
        found = OrderedSet(self)
        found.update(*others)
        return found

    def intersection(self, *others: Iterable[Any]) -> OrderedSet:
        kept = [set(other) for other in others]
        return OrderedSet(member for member in self if all(member in other for other in kept))

    def difference(self, *others: Iterable[Any]) -> OrderedSet:
        dropped = set().union(*others)
        return OrderedSet(member for member in self if member not in dropped)

    def issubset(self, other: Iterable[Any]) -> bool:
        return set(self) <= set(other)

    def issuperset(self, other: Iterable[Any]) -> bool:
        return set(self) >= set(other)

    def __and__(self, other: Iterable[Any]) -> OrderedSet:
        return self.intersection(other)  # the inherited one takes the order of the other set

    __rand__ = __and__

    def copy(self) -> OrderedSet:
        return OrderedSet(self)


@contextlib.contextmanager
def ordered_sets(package: str) -> Iterator[None]:
    """While the context lasts, the name ``set`` means OrderedSet in a package's loaded modules."""
    modules = [
        module
        for name, module in sys.modules.items()
        if (name == package or name.startswith(f"{package}.")) and "set" not in vars(module)
    ]
    try:
        for module in modules:
            vars(module)["set"] = OrderedSet
        yield
    finally:
        for module in modules:
            vars(module).pop("set", None)

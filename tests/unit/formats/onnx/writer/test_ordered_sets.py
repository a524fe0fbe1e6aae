"""A set that keeps its order, and a context that hands it to a package and takes it away again."""

from __future__ import annotations

import sys
import types

import pytest

from edgevit.formats.onnx.writer.ordered_sets import OrderedSet, ordered_sets

NAMES = [f"node{number * 7919 % 101}" for number in range(101)]


def test_members_come_in_the_order_in_which_they_went_in():
    assert [*OrderedSet(NAMES)] == NAMES
    assert [*OrderedSet(["b", "a", "b"])] == ["b", "a"]


def test_it_does_what_a_set_does():
    first, second = OrderedSet([3, 1, 2]), OrderedSet([2, 5])
    assert [*(first - second)] == [3, 1]
    assert [*(first & {2, 3})] == [3, 2]
    assert [*(first | second)] == [3, 1, 2, 5]
    assert [*({9, 3} - first)] == [9]
    assert [*first.union([7], [8])] == [3, 1, 2, 7, 8]
    assert [*first.intersection([1, 3], [3])] == [3]
    assert [*first.difference([3])] == [1, 2]
    assert first == {1, 2, 3}
    assert first.issubset([1, 2, 3, 4])
    assert first.issuperset([1])
    assert not first.isdisjoint(second)
    first.add(0)
    first.discard(3)
    first.remove(1)
    with pytest.raises(KeyError):
        first.remove(1)
    copy = first.copy()
    copy.update([4], "x")
    assert ([*first], [*copy]) == ([2, 0], [2, 0, 4, "x"])
    assert (len(first), 2 in first, 9 in first, bool(OrderedSet())) == (2, True, False, False)


@pytest.fixture
def package(monkeypatch) -> types.ModuleType:
    for name in ("walker", "walker.inner", "walkers"):
        module = types.ModuleType(name)
        exec("def walk(names):\n    return [*set(names)]", module.__dict__)
        monkeypatch.setitem(sys.modules, name, module)
    return sys.modules["walker"]


def test_a_package_walks_in_order_while_the_context_lasts_and_no_other_does(package):
    with ordered_sets("walker"):
        assert package.walk(NAMES) == NAMES
        assert sys.modules["walker.inner"].walk(NAMES) == NAMES
        assert "set" not in vars(sys.modules["walkers"])
    assert not any("set" in vars(sys.modules[name]) for name in ("walker", "walker.inner"))


def test_nothing_is_left_after_an_error(package):
    with pytest.raises(RuntimeError), ordered_sets("walker"):
        raise RuntimeError
    assert "set" not in vars(package)

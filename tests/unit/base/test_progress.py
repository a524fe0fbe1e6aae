"""Long work shows a bar in Jupyter, and nowhere else; the callbacks of a caller go before it."""

from __future__ import annotations

import inspect
import sys
from types import SimpleNamespace

import pytest

import edgevit
from edgevit.base.progress import describe_progress, tells_progress


class Notebook:
    """IPython as a kernel has it: what is displayed, and every update of it."""

    def __init__(self, kernel: object = "kernel"):
        self.shown: list[str] = []
        self.shell = SimpleNamespace(kernel=kernel)

    def get_ipython(self):
        return self.shell

    def display(self, bundle, raw, display_id=None):
        assert raw
        self.shown.append(bundle["text/html"])
        return SimpleNamespace(update=self.display)


@pytest.fixture
def notebook(monkeypatch) -> Notebook:
    found = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", found)
    monkeypatch.setitem(sys.modules, "IPython.display", found)
    return found


@tells_progress
def work(size: int, *, status=None, progress=None) -> int:
    """Reports in every way to whom it is given."""
    for tell, news in ((status, ("reading <b>",)), (progress, (size, size)), (progress, (3, 0))):
        if tell:
            tell(*news)
    if size == 0:
        raise ValueError("nothing")
    return size


def test_a_bar_in_a_notebook_is_gone_at_the_end(notebook):
    assert work(4) == 4
    assert notebook.shown == [
        "reading &lt;b&gt;",
        '<progress value="4" max="4"></progress> reading &lt;b&gt;: 4 of 4, about 0 s left',
        "",
    ]
    with pytest.raises(ValueError, match="nothing"):
        work(0)
    assert notebook.shown[-1] == ""


def test_a_callback_of_the_callers_own_goes_before_the_bar(notebook):
    lines: list[str] = []
    work(4, status=lines.append)
    assert (lines, notebook.shown) == (["reading <b>"], [])


def test_a_terminal_and_a_script_stay_silent(notebook, monkeypatch, capsys):
    notebook.shell = SimpleNamespace()  # IPython in a terminal has no kernel
    work(4)
    monkeypatch.delitem(sys.modules, "IPython")
    work(4)
    assert (notebook.shown, capsys.readouterr()) == ([], ("", ""))


LONG = ("benchmark", "calibrate", "deploy", "diff", "evaluate", "explain", "export_all", "report")


@pytest.mark.parametrize("name", [*LONG, "sweep", "train", "verify"])
def test_every_verb_that_takes_long_shows_a_bar(name):
    verb = getattr(edgevit, name)
    hears = inspect.getclosurevars(verb).nonlocals["hears"]
    inspect.signature(verb).bind_partial(**hears)  # raises for what the verb does not take
    assert hears


def test_time_left_is_told_where_it_is_known():
    assert describe_progress("reading", 2, 8, 3.0) == "reading: 2 of 8, about 9 s left"
    assert describe_progress("reading", 2, 0, 3.0) == "reading: 2 done"

"""A process of the command line that imports no more than its verb needs.

Keras imports matplotlib for its galleries and TensorFlow imports JAX for a converter, wherever
these are installed: a second of each export that nothing is gained by. And Python's garbage
collector looks through the objects of a framework time and again while they are made, and
afterwards whenever all that is garbage is asked for.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from importlib.abc import MetaPathFinder

from edgevit.base.packages import is_importable

HIDDEN = ("jax", "matplotlib")
FRAMEWORKS = ("keras", "tensorflow")
THRESHOLDS = (100_000, 50, 100)  # Python's own: 700, 10, 10


class Hiding(MetaPathFinder):
    """Tells Keras and TensorFlow, and nobody else, that these packages are not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """None, for the finders behind this one.

        Raises:
            ModuleNotFoundError: a framework asks for a package that it can do without.
        """
        if name in HIDDEN and _importer().partition(".")[0] in FRAMEWORKS:
            raise ModuleNotFoundError(f"{name} is left out: no verb needs it", name=name)


def be_lean() -> None:
    """For the rest of this process, frameworks are imported without what they can do without."""
    gc.set_threshold(*THRESHOLDS)
    sys.meta_path.insert(0, Hiding())


def import_frameworks() -> None:
    """Imports Keras and TensorFlow, where both are installed, so that what follows imports none.

    Whoever needs one that is missing or broken says so. What is there then stays for good, so the
    garbage collector need not look through it: a third of a second for each time that it is asked.
    """
    if all(map(is_importable, FRAMEWORKS)):
        with contextlib.suppress(ImportError):
            for name in FRAMEWORKS:
                importlib.import_module(name)
    gc.freeze()


def _importer() -> str:
    """The module whose import statement runs."""
    frame = sys._getframe(2)
    while frame.f_back and str(frame.f_globals.get("__name__")).startswith("importlib"):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__"))

"""A model in memory, by the name that the command line takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgevit.frontend.sources.table import load_source
from edgevit.models.build import build_plan

if TYPE_CHECKING:
    import keras


def load(
    name: str,
    preprocess: bool = False,
    weights: str | Path | None = None,
    trust_code: bool = False,
) -> keras.Model:
    """Whatever can be exported, as a keras.Model.

    Args:
        name: an architecture with its shipped weights, a file or folder, "keras.applications.NAME",
            or "module:function".
        preprocess: whether an architecture of ours takes raw images (uint8 B H W 3).
        weights: a file or folder to use instead of the weights that come with it.
        trust_code: whether a file may run Python code that it contains.

    Raises:
        UnknownNameError: no such architecture, and no such file.
        ModelFileError: the file cannot be used.
    """
    trained = load_source(name, Path(weights) if weights is not None else None, trust_code)
    if not preprocess or trained.plan is None:
        return trained.network
    model = build_plan(trained.plan, preprocess=True)
    model.set_weights(trained.network.get_weights())
    return model

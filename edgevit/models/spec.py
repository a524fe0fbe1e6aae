"""Specifications of architectures, known before any framework is imported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSpec:
    """One architecture.

    Attributes:
        name: as typed on the command line.
        title: as the paper spells it.
        paper: citation with arXiv number.
        module: dotted name of the file that builds it; imported when first built, since it
            imports Keras. It offers ``Config`` (:class:`edgevit.models.config.ModelConfig`),
            ``VARIANTS``, ``TINY`` (sizes for tests) and ``forward``; layer classes that are its
            own are found in it.
        outputs: names of the outputs that it always has; "logits" first.
        extra_outputs: names of further outputs, there when they are asked for.
        resizable: whether the same weights serve images of any size, so that a recipe may begin
            with small ones.
        variants: names of the sizes that the module offers.
        class_names: of the shipped weights.
        ported: dotted name of the module whose ``read_ported`` reads weights that others
            published; None: there is none.
    """

    name: str
    title: str
    paper: str
    module: str
    variants: tuple[str, ...]
    class_names: tuple[str, ...]
    outputs: tuple[str, ...] = ("logits",)
    extra_outputs: tuple[str, ...] = ()
    resizable: bool = True
    ported: str | None = None

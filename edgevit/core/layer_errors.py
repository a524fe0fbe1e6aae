"""How far an exported file is from the float model, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from edgevit.base.markup import Row, show_table
from edgevit.core.samples import Inputs

PREPROCESSING = "preprocessing"  # stands for what happens to the pixels before the network
# Beyond expectation. Sound files of all targets reach 11, and 15 where 16 images are all there is.
SUSPECT_DB = 18.0
NOTABLE_DB = 12.0  # hardly a sound layer comes so far
NOISY_DB = 18.0  # signal to noise of what a layer adds: below, an eighth of its answer is noise
# What these round in one step enters the next and adds up, which no model of rounding here says.
RECURRENT = (
    *("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional"),
    *("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"),
)
TOGETHER_DB = 8.0  # notable layers that are so close to the worst are ranked by their place


class Role(StrEnum):
    """What a layer does when the network runs."""

    COMPUTES = "computes"
    PASSES = "passes"  # returns what it was given, as dropout does outside of training
    CONTAINS = "contains"  # returns what a layer inside it computed
    REPEATED = "repeated"  # is called several times
    OTHER = "other"  # returns no float tensor of images, or several by name


@dataclass(frozen=True)
class FloatLayer:
    """One layer of the float Keras model.

    Attributes:
        path: names of the layers that it is inside of, and its own, with slashes between.
        kind: its class.
        shape: of its output without the batch; empty unless it computes.
        role: what it does when the network runs.
        affine: of a normalisation, (scale, offset) that it ends with, one for each channel.
        inputs: paths of the layers whose outputs it is called with, as far as they are known;
            what was computed between layers comes from none.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    role: Role
    affine: tuple[np.ndarray, np.ndarray] | None = field(default=None, repr=False, compare=False)
    inputs: tuple[str, ...] = ()


# (path of a layer, float32 B ... that it computed) -> what all layers behind see instead; or None.
Visitor = Callable[[str, np.ndarray], np.ndarray | None]
Look = Callable[[str, np.ndarray], None]


@dataclass(frozen=True)
class FloatNetwork:
    """The float Keras model, which can be run layer by layer.

    Attributes:
        name: of the model.
        layers: in the order in which they finish.
        visit: runs samples and shows the visitor what each layer that computes something
            returns, in this order.
        show: likewise, to whom puts nothing in the place of an output; it may show what it kept.
    """

    name: str
    layers: tuple[FloatLayer, ...]
    visit: Callable[[Inputs, Visitor], None]
    show: Callable[[Inputs, Look], None]


@dataclass(frozen=True)
class LayerError:
    """How one layer of a file differs from the float model's.

    What a layer *adds* is its own error: the float layer was given what the file's layers before
    it computed, and its answer is held against the file's. *Total* figures hold the file against
    the float model on its own, so they grow from layer to layer.

    Attributes:
        layer: path of the Keras layer.
        kind: its class.
        tensor: of the file that holds its output.
        op: operator of the file that computes this tensor.
        relative: error that the layer adds: root mean square, over that of its output.
        sqnr_db: signal to noise of what it adds, in decibels; None where it adds nothing.
        cosine: between its output and that of the float layer for the same input.
        excess_db: by how much the worst channel's systematic error is above what the file's
            precision and its other layers of this kind let expect. Layers are ranked by it.
        channel: this worst channel.
        total_sqnr_db: signal to noise against the float model; None where there is no noise.
        total_cosine: against the float model.
        saturated: share of values at the ends of an integer tensor's levels; None for floats.
        clipped: share of values that lie beyond these ends in the float layer for the same input.
        last: path of the last of several layers that the file computes in one step, as a
            convolution with its activation: the output of this one is compared. Empty: its own.
        within: paths of the layers in front that are not compared themselves, nearest last: what
            they add is in these figures.
    """

    layer: str
    kind: str
    tensor: str
    op: str
    relative: float
    sqnr_db: float | None
    cosine: float
    excess_db: float
    channel: int
    total_sqnr_db: float | None
    total_cosine: float
    saturated: float | None
    clipped: float | None
    last: str = ""
    within: tuple[str, ...] = ()

    @property
    def adds_up(self) -> bool:
        """Whether what is rounded in one step of the layer enters the next."""
        return self.saturated is not None and self.kind in RECURRENT


@dataclass(frozen=True)
class Unaligned:
    """A layer that computes something of which the file has no tensor.

    Attributes:
        layer: path of the Keras layer.
        kind: its class.
        reason: why it could not be compared.
    """

    layer: str
    kind: str
    reason: str


@dataclass(frozen=True)
class LayerDiff:
    """A file against the float model, layer by layer.

    Attributes:
        file: its name.
        sha256: of the file.
        model: the float model.
        target: of the file.
        runtime: that ran it.
        images: that both saw.
        source: where these came from.
        layers: in the order of computation.
        unaligned: layers without a tensor in the file.
        skipped: how many layers compute nothing of their own, by :class:`Role`.
        warnings: what a reader must know.
    """

    file: str
    sha256: str
    model: str
    target: str
    runtime: str
    images: int
    source: str
    layers: tuple[LayerError, ...]
    unaligned: tuple[Unaligned, ...]
    skipped: dict[str, int]
    warnings: tuple[str, ...] = ()

    def list_rows(self, layers: Sequence[LayerError]) -> list[Row]:
        """A row of cells for each of some layers of this file, which has its columns."""
        integers = any(row.saturated is not None for row in self.layers)
        return [
            {
                "layer": _step(row),
                "computed by": row.op,
                "adds dB": _decibels(row.sqnr_db),
                "cosine": f"{row.cosine:.5f}",
                "total dB": _decibels(row.total_sqnr_db),
                "total cosine": f"{row.total_cosine:.5f}",
                **(
                    {"saturated": _share(row.saturated), "clipped": _share(row.clipped)}
                    if integers
                    else {}
                ),
                "beyond dB": f"{row.excess_db:+.1f}",
            }
            for row in layers
        ]

    def _repr_html_(self) -> str:
        suspects = ", ".join(row.layer for row in self.suspects) or "none"
        title = f"{self.file} ({self.target}, {self.runtime}): suspect layers: {suspects}"
        return show_table(title, self.list_rows(self.layers))

    @property
    def ranked(self) -> list[LayerError]:
        """The layers, the most suspicious first; see :func:`rank_layers`."""
        return rank_layers(self.layers)

    @property
    def suspects(self) -> list[LayerError]:
        """See :func:`list_suspects`."""
        return list_suspects(self.layers)

    @property
    def noisy(self) -> list[LayerError]:
        """Layers that add much error by themselves, the most first; few levels suffice for that.

        They are no fault of the file's: its precision is too coarse for what the network does.
        """
        found = [row for row in self.layers if row.sqnr_db is not None and row.sqnr_db < NOISY_DB]
        return sorted(found, key=lambda row: -row.relative)


def _step(row: LayerError) -> str:
    """The layer, or the first and the last of several that are one step."""
    return f"{row.layer} .. {row.last.rpartition('/')[2]}" if row.last else row.layer


def _decibels(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"


def list_suspects(layers: Sequence[LayerError]) -> list[LayerError]:
    """Layers whose error their precision does not explain, the likeliest first.

    Where there is one, notable layers that are ranked before it are suspects as well. A recurrent
    layer in integers is never one: its rounding adds up.

    Args:
        layers: in the order of computation.
    """
    ranked = rank_layers([row for row in layers if not row.adds_up])
    places = [place for place, row in enumerate(ranked) if row.excess_db > SUSPECT_DB]
    if not places:
        return []
    first = places[0]
    return [*ranked[:first], *(row for row in ranked[first:] if row.excess_db > SUSPECT_DB)]


def rank_layers(layers: Sequence[LayerError]) -> list[LayerError]:
    """The layers by suspicion: those furthest beyond what is expected of them first.

    A fault drives the layers behind it out of their ranges, never those before it. So of notable
    layers that are about as far beyond as the worst, the earlier one comes first.

    Args:
        layers: in the order of computation.
    """
    worst = max((row.excess_db for row in layers), default=0.0)
    least = max(NOTABLE_DB, worst - TOGETHER_DB)
    together = [row for row in layers if row.excess_db >= least]
    rest = [row for row in layers if row.excess_db < least]
    return together + sorted(rest, key=lambda row: -row.excess_db)

"""The shift operation of ShiftViT, without parameters and without arithmetic.

Source: Wang et al. 2022, "When Shift Operation Meets Vision Transformer: An Extremely Simple
Alternative to Attention Mechanism" (arXiv:2201.10801), equation 1.
"""

from __future__ import annotations

from keras import ops

from edgevit.layers.configured import ConfiguredLayer


class PartialShift(ConfiguredLayer):
    """Moves four channel groups by ``pixels``: left, right, up and down. The rest stays.

    The border that a group leaves is filled with zeros; what moves past the opposite border is
    dropped. Each group holds ``channels // num_div`` channels, so ``4 / num_div`` of the channels
    move.

    Input and output: B H W C, any float dtype.

    Args:
        num_div: number of divisions of the channel axis, at least 4.
        pixels: distance in pixels, at least 1.

    Raises:
        ValueError: when the channels cannot hold four groups.
    """

    def __init__(self, num_div: int = 12, pixels: int = 1, **kwargs):
        super().__init__(**kwargs)
        if num_div < 4 or pixels < 1:
            raise ValueError(
                "PartialShift needs num_div >= 4 (one group for each direction) and pixels >= 1. "
                f"Received: num_div={num_div}, pixels={pixels}"
            )

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels // self.num_div < 1:
            raise ValueError(
                f"PartialShift splits the channels into {self.num_div} groups, so there must be at "
                f"least {self.num_div} of them. Received: channels={channels}"
            )
        self.group = channels // self.num_div

    def call(self, x):
        group, pixels = self.group, self.pixels
        _, rows, columns, _ = x.shape
        # One pad serves all four directions; each group is then one window of the padded image.
        moving = x[..., : 4 * group]  # B H W 4g
        around = [(0, 0), (pixels, pixels), (pixels, pixels), (0, 0)]
        moving = ops.pad(moving, around)  # B H+2p W+2p 4g
        windows = ((pixels, 2 * pixels), (pixels, 0), (2 * pixels, pixels), (0, pixels))
        groups = [
            moving[:, top : top + rows, left : left + columns, index * group : (index + 1) * group]
            for index, (top, left) in enumerate(windows)  # left, right, up, down
        ]
        return ops.concatenate([*groups, x[..., 4 * group :]], axis=-1)  # B H W C


class BorderErase(ConfiguredLayer):
    """What the published Keras tutorial computes where its text describes a shift.

    The tutorial crops and pads at the same offset, so nothing moves: the operation sets one border
    of each of the first four groups to zero (right, left, bottom, top). Its groups hold
    ``num_div`` channels, whatever the width. Checkpoints trained with the tutorial need exactly
    this.

    Input and output: B H W C, any float dtype.

    Args:
        num_div: channels a group.
        pixels: width of the erased border in pixels, at least 1.

    Raises:
        ValueError: when the channels cannot hold four groups.
    """

    def __init__(self, num_div: int = 12, pixels: int = 1, **kwargs):
        super().__init__(**kwargs)
        if num_div < 1 or pixels < 1:
            raise ValueError(
                "BorderErase needs num_div >= 1 (channels a group) and pixels >= 1. "
                f"Received: num_div={num_div}, pixels={pixels}"
            )

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels < 4 * self.num_div:
            raise ValueError(
                f"BorderErase needs four groups of {self.num_div} channels. "
                f"Received: channels={channels}"
            )

    def call(self, x):
        group = self.num_div
        _, rows, columns, _ = x.shape
        tall, wide = min(self.pixels, rows), min(self.pixels, columns)  # an image may be narrower
        kept = (  # rows from, to; columns from, to
            (0, rows, 0, columns - wide),
            (0, rows, wide, columns),
            (0, rows - tall, 0, columns),
            (tall, rows, 0, columns),
        )
        groups = []
        for index, (top, bottom, left, right) in enumerate(kept):
            part = x[:, top:bottom, left:right, index * group : (index + 1) * group]
            around = [(0, 0), (top, rows - bottom), (left, columns - right), (0, 0)]
            groups.append(ops.pad(part, around))  # B H W g
        return ops.concatenate([*groups, x[..., 4 * group :]], axis=-1)  # B H W C

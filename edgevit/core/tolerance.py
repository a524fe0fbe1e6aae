"""How far a file may be from the float model: one named policy for each way of rounding."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Tolerance:
    """How far a file may be from the float model and still pass. All limits must hold.

    Attributes:
        max_abs: largest |difference| of any logit, absolute; of any further output, in units of
            its largest value where that is above 1. None: no limit.
        max_relative: mean |difference| of the logits over their standard deviation.
        min_agreement: share of images with the same top-1 class, in [0, 1].
        max_relative_other: mean |difference| of any further output (an attention map, say) over
            its standard deviation.
        reason: why these limits.
    """

    max_abs: float | None
    max_relative: float
    min_agreement: float
    max_relative_other: float
    reason: str


EXACT = Tolerance(
    max_abs=1e-4,
    max_relative=1e-5,
    min_agreement=1.0,
    max_relative_other=1e-4,
    reason="same float32 arithmetic in another order",
)
WINOGRAD = replace(EXACT, reason="float32 arithmetic with fewer products, of other factors")
# 2 ** -12 a product, and eight blocks of four products each, come to some 0.15 %; ViT with seeded
# weights was measured at 0.15 to 0.21 %, with logits 0.06 apart and the same classes.
HALF = Tolerance(
    max_abs=8e-2,
    max_relative=4e-3,
    min_agreement=0.98,
    max_relative_other=2e-2,
    reason="weights rounded to 11 significant bits",
)
HALF_ARITHMETIC = Tolerance(
    max_abs=8e-2,
    max_relative=4e-3,
    min_agreement=0.98,
    max_relative_other=2e-2,
    reason="weights and activations rounded to 11 significant bits",
)
WEIGHTS_8BIT = Tolerance(
    max_abs=None,
    max_relative=0.08,
    min_agreement=0.90,
    max_relative_other=0.25,
    reason="weights rounded to 8 bits a channel, activations to 8 bits a row",
)
DENSE_8BIT = Tolerance(
    max_abs=None,
    max_relative=0.10,
    min_agreement=0.85,
    max_relative_other=0.30,
    reason="inputs and weights of weighted layers rounded to 8 bits; all in between is float32",
)
WEIGHTS_4BIT = Tolerance(
    max_abs=None,
    max_relative=0.30,
    min_agreement=0.70,
    max_relative_other=0.50,
    reason="weights rounded to 4 bits: 15 levels a channel; accuracy tells more than this",
)
ACTIVATIONS_16BIT = Tolerance(
    max_abs=None,
    max_relative=0.08,
    min_agreement=0.90,
    max_relative_other=0.25,
    reason="weights rounded to 8 bits a channel, activations to 16 bits",
)
ALL_8BIT = Tolerance(
    max_abs=None,
    max_relative=0.20,
    min_agreement=0.80,
    max_relative_other=0.50,
    reason="every tensor rounded to 8 bits; drawn images lie closer to class borders than photos",
)

"""How far a file may be from the float model: one named policy for each way of rounding."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgevit.core.signature import Role


@dataclass(frozen=True)
class Limit:
    """What rounding may cost in one output.

    Attributes:
        relative: mean |difference| of the worst column, in units of its standard deviation.
        agreement: what the role's own measure must reach, in [-1, 1]: the share of samples with
            the same class, mean IoU, or cosine; see :mod:`edgevit.tasks.measures`. 0 where a role
            has none.
    """

    relative: float
    agreement: float = 0.0


# A float32 file is off by about what one unit in the last place of the inputs makes of the float
# model's own outputs, well-conditioned network or not; see docs/decisions/0023. Beyond the ends,
# float32 does not say what the network returns, and nothing that computes it is called right.
ROUNDINGS, ROUNDINGS_LARGEST = 4.0, 8.0
ROUNDED_MOST, ROUNDED_LARGEST = 0.01, 0.1
TELLING = 16  # inputs


@dataclass(frozen=True)
class Rounding:
    """What float32 rounding alone makes of one output of a network.

    Attributes:
        relative: mean |difference| of the worst column, in units of its standard deviation, where
            every input moves by one unit in the last place.
        error: likewise the largest |difference|, in units of the largest |value| of its column.
    """

    relative: float
    error: float

    def __post_init__(self) -> None:
        if not (self.relative >= 0 and self.error >= 0):
            raise ValueError(f"a rounding of {self.relative} and {self.error}")


@dataclass(frozen=True)
class Tolerance:
    """How far a file may be from the float model. All limits must hold.

    Attributes:
        exact: for float32 arithmetic: largest |difference| of any output, in units of the largest
            |value| of its column. What is beyond is wrong. None: rounding may cost something.
        limits: what it may cost, by role. What is beyond is right, but lossy.
        kernels: how far two kernel sets of the same file may be apart: mean |difference| in units
            of the deviation. What is beyond is wrong: one of them does not compute the file.
        reason: why these limits.
        telling: on how many inputs slow kernels are held against the float model and the other
            kernels. Where nothing rounds, one number of one input that is computed otherwise is
            beyond the limit; roundings are told from faults on many.
    """

    exact: float | None
    limits: tuple[tuple[Role, Limit], ...]
    kernels: float
    reason: str
    telling: int = TELLING

    def limit(self, role: Role) -> Limit:
        """Of outputs of one role."""
        return dict(self.limits)[role]

    def beside(self, rounding: Rounding | None, few: bool = False) -> Tolerance:
        """For an output of a network that float32 rounding moves by so much.

        Args:
            rounding: of this output, on all inputs; None: it moves it by no more than others.
            few: whether it is held against the float model on no more than TELLING inputs. Their
                mean may be that of the one input that rounding moves most.
        """
        if self.exact is None or rounding is None:
            return self
        mean = ROUNDED_MOST if few else min(ROUNDINGS * rounding.relative, ROUNDED_MOST)
        largest = min(ROUNDINGS_LARGEST * rounding.error, ROUNDED_LARGEST)
        return replace(
            self,
            exact=max(self.exact, largest),
            limits=tuple(
                (role, replace(limit, relative=max(limit.relative, mean)))
                for role, limit in self.limits
            ),
            kernels=max(self.kernels, 2 * mean),  # each of two may be that far off
        )


def _limits(
    scores: tuple[float, float],
    mask: tuple[float, float],
    embedding: tuple[float, float],
    dense: float,
    labels: float,
) -> tuple[tuple[Role, Limit], ...]:
    """Limits by role.

    Args:
        scores: (relative error, agreement) of logits and probabilities.
        mask: (relative error, mean IoU).
        embedding: (relative error, cosine).
        dense: relative error of everything else.
        labels: agreement of integers.
    """
    return (
        (Role.LOGITS, Limit(*scores)),
        (Role.PROBABILITIES, Limit(*scores)),
        (Role.MASK, Limit(*mask)),
        (Role.EMBEDDING, Limit(*embedding)),
        (Role.VALUES, Limit(dense)),
        (Role.LABELS, Limit(float("inf"), labels)),
        (Role.MAP, Limit(dense)),
    )


EXACT = Tolerance(
    exact=1e-4,
    limits=_limits((1e-4, 0.99), (1e-4, 0.99), (1e-4, 0.9999), 1e-4, 0.99),
    kernels=1e-4,
    reason="same float32 arithmetic in another order",
    telling=4,
)
WINOGRAD = replace(EXACT, reason="float32 arithmetic with fewer products, of other factors")
HALF = Tolerance(
    exact=None,
    limits=_limits((0.01, 0.98), (0.01, 0.96), (0.01, 0.999), 0.01, 0.97),
    kernels=0.01,
    reason="weights rounded to 11 significant bits",
)
HALF_ARITHMETIC = replace(HALF, reason="weights and activations rounded to 11 significant bits")
WEIGHTS_8BIT = Tolerance(
    exact=None,
    limits=_limits((0.15, 0.88), (0.10, 0.85), (0.10, 0.99), 0.25, 0.85),
    kernels=0.10,
    reason="weights rounded to 8 bits a channel, activations to 8 bits a row",
)
DENSE_8BIT = replace(
    WEIGHTS_8BIT,
    reason="inputs and weights of weighted layers rounded to 8 bits; all in between is float32",
)
WEIGHTS_4BIT = Tolerance(
    exact=None,
    limits=_limits((0.30, 0.70), (0.20, 0.70), (0.20, 0.95), 0.50, 0.70),
    kernels=0.10,
    reason="weights rounded to 4 bits: 15 levels a channel; accuracy tells more than this",
)
ACTIVATIONS_16BIT = replace(
    WEIGHTS_8BIT, reason="weights rounded to 8 bits a channel, activations to 16 bits"
)
ALL_8BIT = Tolerance(
    exact=None,
    limits=_limits((0.20, 0.80), (0.10, 0.75), (0.15, 0.98), 0.30, 0.75),
    kernels=0.25,
    reason="every tensor rounded to 8 bits; synthetic images lie closer to class borders",
)

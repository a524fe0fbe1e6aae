"""One benchmark: raw samples of all its cases with the machine they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevit.base.documents import VERSION, parse_json, read_document, to_json, to_plain
from edgevit.base.errors import ModelFileError
from edgevit.base.statistics import Interval, paired_ratio
from edgevit.core.measurements import WIDTH_LIMIT, Environment, Measurement
from edgevit.core.roofline import Limit, Roofline

BENCHMARK_KIND = "edgevit.benchmark"
NOUN = "the benchmark's result"  # what errors call it
# A fixed computation that spreads or drifts by more than this: the machine is too noisy.
NOISE_LIMIT = 0.05
QUARTILES_TO_DEVIATION = 1.349  # distance of a normal distribution's quartiles


@dataclass(frozen=True)
class BenchmarkResult:
    """One run: all cases interleaved on one machine.

    Attributes:
        environment: the machine.
        rows: one for each case.
        reference: index of the row that the others are compared with; None: no comparison.
        yardstick_ns: a fixed computation, one sample a round: how steady the machine was.
        seed: of the order within the rounds.
        roofline: what the machine could do at best, where that was measured.
    """

    environment: Environment
    rows: tuple[Measurement, ...]
    reference: int | None
    yardstick_ns: tuple[int, ...]
    seed: int
    roofline: Roofline | None = None
    kind: str = field(default=BENCHMARK_KIND)

    def ratio(self, row: Measurement) -> Interval | None:
        """Time of a row over the reference's, paired by rounds; None where either is missing."""
        if self.reference is None or not row.measured or not self.rows[self.reference].measured:
            return None
        return paired_ratio(row.round_medians_ns, self.rows[self.reference].round_medians_ns)

    def limit(self, row: Measurement) -> Limit | None:
        """The least time that a row's inference can take here; None where it is not known."""
        if self.roofline is None:
            return None
        return self.roofline.limit(row, self.roofline.works[self.rows.index(row)])

    @property
    def spread(self) -> float:
        """How far the fixed computation's rounds lie apart: quartile distance over the median.

        In units of a normal distribution's standard deviation. Quartiles see a machine of two
        speeds, which the median absolute deviation may not.
        """
        low, middle, high = np.percentile(self.yardstick_ns, [25, 50, 75])
        return float((high - low) / QUARTILES_TO_DEVIATION / middle)

    @property
    def drift(self) -> float:
        """Change of the fixed computation from the first third of the rounds to the last."""
        third = max(1, len(self.yardstick_ns) // 3)
        early, late = self.yardstick_ns[:third], self.yardstick_ns[-third:]
        return float(np.median(late) / np.median(early)) - 1

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before believing a figure; empty on a quiet machine."""
        found = []
        if self.yardstick_ns and self.spread > NOISE_LIMIT:
            found.append(
                f"the machine is too noisy: a fixed computation spread by {100 * self.spread:.0f} "
                f"% between rounds (limit {100 * NOISE_LIMIT:.0f} %). Trust ratios, not times"
            )
        if self.yardstick_ns and abs(self.drift) > NOISE_LIMIT:
            found.append(
                f"the machine's speed changed: a fixed computation took {100 * self.drift:+.0f} % "
                f"at the end (limit {100 * NOISE_LIMIT:.0f} %). Trust ratios, not times"
            )
        loose = sum(row.measured and not row.settled for row in self.rows)
        if loose:
            found.append(
                f"{loose} of {len(self.rows)} rows, marked ~, did not settle: unstable after the "
                f"warm-up, or a median known to no better than {100 * WIDTH_LIMIT:.0f} %. "
                "Raise --rounds, or stop other work"
            )
        return tuple(found)

    @property
    def failed(self) -> bool:
        """Whether any row has something to complain of, or there is none."""
        return not self.rows or any(row.failure for row in self.rows)

    def to_text(self) -> str:
        """The document: raw samples, nothing derived."""
        return to_json({"version": VERSION, **to_plain(self)}) + "\n"

    @classmethod
    def from_text(cls, text: str, name: str) -> BenchmarkResult:
        """Reads :meth:`to_text`.

        Raises:
            ModelFileError: damaged, of another kind, or written by a newer version.
        """
        return cls.from_document(parse_json(text, name, NOUN), name)

    @classmethod
    def from_document(cls, document: Any, name: str) -> BenchmarkResult:
        """Reads what :meth:`to_text` holds, as JSON values.

        Raises:
            ModelFileError: damaged, of another kind, or written by a newer version.
        """
        if not isinstance(document, dict) or document.get("kind") != BENCHMARK_KIND:
            raise ModelFileError(
                f"{name}: no result of a benchmark. 'edgevit benchmark FILE --out RESULT.json' "
                "writes one."
            )
        found = read_document(cls, document, name, NOUN)
        if found.roofline is not None and len(found.roofline.works) != len(found.rows):
            raise ModelFileError(f"{name}: its roofline belongs to another number of rows.")
        if found.reference is not None and not 0 <= found.reference < len(found.rows):
            raise ModelFileError(f"{name}: its reference is none of its {len(found.rows)} rows.")
        return found

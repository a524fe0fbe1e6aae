"""The outcome of an export, and the budget that it may be given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgevit.base.errors import ConfigError
from edgevit.base.markup import show_table
from edgevit.core.layer_errors import LayerError
from edgevit.core.manifest import Artifact
from edgevit.core.parity import ParityReport, Verdict, judge
from edgevit.core.runtime import Runtime
from edgevit.core.signature import Signature
from edgevit.core.target import Target
from edgevit.reports.tables import list_runs

if TYPE_CHECKING:
    from edgevit.quantization.search import SearchReport


@dataclass(frozen=True)
class Budget:
    """How much of its task's figure a tflite-mixed file may lose.

    Attributes:
        max_drop: hundredths of the figure: percentage points of accuracy, hundredths of R2.
        data: what the task is measured on, or unlabelled samples; of a dataset of classes the
            validation images are used, a fifth of the training images.
        images: size of the sample.

    Raises:
        ConfigError: a budget that makes no sense.
    """

    max_drop: float
    data: str | Path
    images: int = 1000

    def __post_init__(self) -> None:
        if not (math.isfinite(self.max_drop) and 0 <= self.max_drop <= 100):
            raise ConfigError(f"--max-drop is in points, 0 to 100. Received: {self.max_drop}")


@dataclass(frozen=True)
class Outcome:
    """One finished export.

    Attributes:
        target: what was asked for.
        artifact: the published file; None where it failed its verification and was not kept, or
            where the target was refused.
        reports: one for each runtime that verified it; the first is what devices run.
        seconds: wall time of lowering, auditing and verifying.
        not_run: runtimes that verify this target where they are installed, and are not.
        search: how its precisions were found, for tflite-mixed with a budget.
        task: what the model is for.
        signature: of the model.
        accept_loss: whether a lossy file is what was asked for.
        suspects: layers that add more error than the file's precision explains.
        refusal: why the model cannot be written to this target; empty if it was.
        warnings: what a user should know of the model, a line each.
        caveats: what a user should know of the file, a line each: where it is further off.
        saturation: why it is further off on this processor than on others; empty if it is not.
    """

    target: Target
    artifact: Artifact | None
    reports: tuple[ParityReport, ...]
    seconds: float
    not_run: tuple[Runtime, ...] = ()
    search: SearchReport | None = None
    task: str = ""
    signature: Signature | None = None
    accept_loss: bool = False
    suspects: tuple[LayerError, ...] = ()
    refusal: str = ""
    warnings: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    saturation: str = ""

    @property
    def verdict(self) -> Verdict:
        """PASS only if every runtime stays within the target's tolerance; see :func:`judge`."""
        if self.refusal or self.suspects:
            return Verdict.FAIL
        return judge(self.reports, self.target.tolerance)

    @property
    def accepted(self) -> bool:
        """Whether the file is what was asked for: right, and no lossier than was allowed."""
        return self.verdict is Verdict.PASS or (self.verdict is Verdict.LOSSY and self.accept_loss)

    def _repr_html_(self) -> str:
        if self.refusal:
            return show_table(f"{self.target.name}: refused. {self.refusal}", [])
        file = self.artifact
        place = f"{file.path}, {file.size_bytes / 1e6:.2f} MB" if file else "not written"
        title = f"{self.target.name}: {self.verdict}, {place}"
        return show_table(title, list_runs(self.reports, self.target.tolerance))

"""What the verbs do, each as one readable function over the rooms below.

``exporting``: lower, audit, embed, run, publish. ``verifying``: a file against its papers.
``diffing``: a file against the float model, layer by layer. ``evaluating``: accuracy.
``explaining``: where a network looks. ``reporting``: all that is known of a folder of files,
``evidence`` what other commands measured of them.
``sources``: what the user named, opened.
"""

from __future__ import annotations

from edgevit.pipeline.diffing import diff
from edgevit.pipeline.evaluating import evaluate
from edgevit.pipeline.explaining import DrawnExplanation, explain
from edgevit.pipeline.exporting import (
    CALIBRATION_IMAGES,
    Outcome,
    export,
    export_all,
    find_ranges,
    publish,
)
from edgevit.pipeline.reporting import collect_report
from edgevit.pipeline.sources import open_source
from edgevit.pipeline.verifying import Verification, read_papers, verify

__all__ = [
    "CALIBRATION_IMAGES",
    "DrawnExplanation",
    "Outcome",
    "Verification",
    "collect_report",
    "diff",
    "evaluate",
    "explain",
    "export",
    "export_all",
    "find_ranges",
    "open_source",
    "publish",
    "read_papers",
    "verify",
]

"""What the verbs do, each as one readable function over the rooms below.

- ``exporting``: lower, audit, embed, run, publish
- ``calibrating``: activation ranges for that
- ``searching``: precisions within a budget
- ``verifying``: a file against its papers
- ``diffing``: a file against the float model, layer by layer
- ``evaluating``: accuracy
- ``benchmarking``: time
- ``explaining``: where a network looks
- ``reporting``: all that is known of a folder of files; ``evidence``: what other verbs measured
- ``sources``: what the user named, opened
"""

from __future__ import annotations

from edgevit.pipeline.benchmarking import benchmark
from edgevit.pipeline.calibrating import Calibration, calibrate
from edgevit.pipeline.diffing import diff
from edgevit.pipeline.evaluating import evaluate, evaluate_robustness
from edgevit.pipeline.explaining import DrawnExplanation, explain
from edgevit.pipeline.exporting import (
    CALIBRATION_IMAGES,
    Budget,
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
    "Budget",
    "Calibration",
    "DrawnExplanation",
    "Outcome",
    "Verification",
    "benchmark",
    "calibrate",
    "collect_report",
    "diff",
    "evaluate",
    "evaluate_robustness",
    "explain",
    "export",
    "export_all",
    "find_ranges",
    "open_source",
    "publish",
    "read_papers",
    "verify",
]

"""Runs a sweep with cells of fake_cells: PLAN OUT JOBS [EXECUTOR ADDRESS]."""

import sys

from edgevit.base import interrupt
from edgevit.verbs.sweep import sweep

interrupt.listen()
plan, out, jobs, *cluster = sys.argv[1:]
executor, address = cluster or ("local", "")
report = sweep(
    plan,
    out,
    jobs=int(jobs),
    executor=executor,
    address=address,
    function="programs.fake_cells:run",
)
for cell in report.cells:
    print(f"{cell.result.model}/{cell.result.target}: {cell.state}: {'; '.join(cell.reasons)}")
print(f"ran {report.ran}")

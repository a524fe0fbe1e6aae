"""Which layers' errors call a file wrong."""

from __future__ import annotations

import pytest

from edgevit.core.layer_errors import LayerError
from edgevit.verbs.diff import DEEP, list_held


def row(within: int = 0, total_db: float | None = 3.0, clipped: float | None = None) -> LayerError:
    names = tuple(f"layer_{number}" for number in range(within))
    return LayerError(
        "last", "BatchNormalization", "t", "Conv", 0.5, 3.0, 1.0, 60.0, 0, total_db, 1.0, None,
        clipped, within=names,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "held"),
    [
        (row(), True),
        (row(DEEP), False),  # no layer of a deep network has a tensor up to this one
        (row(DEEP, total_db=2.1), False),  # but for rounded pixels
        (row(DEEP - 1), True),  # of a small one, whose layers round as one does
        (row(DEEP, total_db=1.0), True),  # tensors before it added an error of their own
        (row(DEEP, total_db=None), True),  # not asked for yet
        (row(clipped=0.1), False),
    ],
)
def test_a_layer_whose_error_is_that_of_a_deep_network_says_what_outputs_say(found, held):
    assert bool(list_held([found])) is held

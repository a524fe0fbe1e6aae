"""Values of options as they are typed."""

from __future__ import annotations

import pytest

from edgevit.base.errors import ConfigError
from edgevit.core.options import read_batch


@pytest.mark.parametrize(("typed", "batch"), [("1", 1), ("32", 32), ("dynamic", None)])
def test_a_batch_is_a_number_or_dynamic(typed, batch):
    assert read_batch(typed) == batch


@pytest.mark.parametrize("typed", ["0", "-1", "1.5", "", "many", "Dynamic", "²", "1e3"])
def test_any_other_batch_is_refused(typed):
    with pytest.raises(ConfigError, match="neither a number of at least 1 nor 'dynamic'"):
        read_batch(typed)

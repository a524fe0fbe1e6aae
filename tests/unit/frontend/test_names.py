"""Names that converters, file systems and runtimes take."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.frontend.names import LONGEST, is_scope, safe_name, unique_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("shiftvit-nano", "shiftvit-nano"),
        ("MobileNetV3Small", "MobileNetV3Small"),
        ("my model (final)", "my_model_final"),
        ("größe", "grosse"),
        ("_lead", "lead"),
        ("1st.try", "1st.try"),
        ("../../etc/passwd", "etc_passwd"),
        ("a\\b:c", "a_b_c"),
        ("日本語", "unnamed"),
        ("", "unnamed"),
    ],
)
def test_a_name_is_as_close_as_it_may_be(name, safe):
    assert safe_name(name) == safe


@given(st.text())
def test_every_name_is_safe_and_stays_so(name):
    safe = safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", safe)
    assert len(safe) <= LONGEST
    assert is_scope(safe)
    assert safe_name(safe) == safe


def test_names_that_become_the_same_are_told_apart():
    taken: set[str] = set()
    assert [unique_name(name, taken) for name in ("a b", "a_b", "a/b")] == ["a_b", "a_b_2", "a_b_3"]

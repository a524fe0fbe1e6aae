"""Tables of HTML hold what they are given as text, and never as tags."""

from edgevit.base.markup import show_table


def test_titles_headings_and_cells_are_escaped():
    found = show_table("<net>", [{"<a>": "1 < 2", "b": "x"}, {"b": "&"}])
    assert found.count("<tr>") == 3
    for text in ("&lt;net&gt;", "<th>&lt;a&gt;</th>", "<td>1 &lt; 2</td>", "<td>&amp;</td>"):
        assert text in found
    assert "<td></td>" in found  # the second row has no such cell


def test_a_title_alone_has_no_table():
    assert show_table("none", []) == "<p><b>none</b></p>"

"""Class names out of the files that people have."""

from __future__ import annotations

import json

import pytest

from edgevit.base.errors import ConfigError
from edgevit.data.labels import read_class_names

NAMES = ("tench", "great white shark", "cock, rooster")


@pytest.mark.parametrize(
    "data",
    [
        b"tench\ngreat white shark\ncock, rooster",
        b"tench\r\ngreat white shark\r\ncock, rooster\r\n\r\n\r\n",
        b"\xef\xbb\xbftench\ngreat white shark\ncock, rooster\n",
        b"  tench \n\tgreat white shark\n\ncock, rooster\n \n",
        b"0 tench\n1 great white shark\n2 cock, rooster\n",
        b"0: tench\n1: great white shark\n2: cock, rooster",
        b"0,tench\r\n1,great white shark\r\n2,cock, rooster\r\n",
        b"\xef\xbb\xbf0\ttench\r\n1\tgreat white shark\r\n2\tcock, rooster\r\n\r\n",
        b"000 tench\n001 great white shark\n002 cock, rooster",
    ],
)
def test_every_way_to_write_a_name_a_line_gives_the_names(data, tmp_path):
    (tmp_path / "names.txt").write_bytes(data)
    assert read_class_names(tmp_path / "names.txt") == NAMES


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_json_list_is_taken_as_it_is(mark, tmp_path):
    names = ["0 tench", "1 shark"]
    (tmp_path / "names.json").write_bytes(mark + json.dumps(names).encode())
    assert read_class_names(tmp_path / "names.json") == tuple(names)


@pytest.mark.parametrize(
    "lines",
    [
        ["0", "1", "2"],  # the names of digits
        ["1 tench", "2 shark"],  # they do not count from 0
        ["0 tench", "shark"],
        ["0 tench", "2 shark"],
        ["0 cars", "1 cars", "2 cars"],  # the number is what tells them apart
        ["3d print", "2d print"],
        ["0tench", "1shark"],
    ],
)
def test_numbers_that_are_part_of_the_names_stay(lines, tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(lines))
    assert read_class_names(tmp_path / "names.txt") == tuple(lines)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", b"1 wader\n0 crane\n", "must count 0, 1, 2"),
        ("a.txt", b"\xef\xbb\xbf\r\n \r\n", "no class name"),
        ("a.txt", b"\xff\xfea\0", "cannot be read"),
        ("a.json", b"{", "damaged"),
        ("a.json", b"[" * 100_000, "damaged"),
        ("a.json", b'{"a": 1}', "expected a JSON list"),
        ("a.json", b"[1, 2]", "expected a JSON list"),
        ("a.txt", None, "cannot be read"),
    ],
)
def test_labels_that_cannot_be_used_are_one_line(name, data, said, tmp_path):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_class_names(tmp_path / name)
    message = str(caught.value)
    assert said in message
    assert message.startswith(f"{tmp_path / name}: ")
    assert "\n" not in message


def test_two_classes_may_have_one_name_as_in_imagenet(tmp_path):
    path = tmp_path / "imagenet.txt"
    path.write_text("crane\nwader\ncrane\n")
    assert read_class_names(path) == ("crane", "wader", "crane")

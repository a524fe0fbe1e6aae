"""Tables of pictures and numbers: what is read, and which line is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgevit.base.errors import DataError
from edgevit.core.signature import InputSpec, Signature
from edgevit.core.tensors import Preprocess
from edgevit.data.images import resize_image
from edgevit.data.values import load_values

SIZE = (6, 5)
PHOTO = InputSpec("photo", (None, 4, 4, 3), preparation=Preprocess(SIZE, (4, 4)))
ONE = Signature((PHOTO,), ())
AGE = InputSpec("age", (None, 1))
POSE = InputSpec("pose", (None, 2))
WORD = InputSpec("word", (None,), "int32", levels=5)
TABLE = "file,x,y\na.png,1,-2.5\nsub/b.png,3e2,0\n"


@pytest.fixture
def pictures(tmp_path, drawn_images) -> np.ndarray:
    """a.png and sub/b.png beside the table. uint8 2 6 5 3."""
    images = drawn_images(2, (12, 10))
    (tmp_path / "sub").mkdir()
    for name, image in zip(("a.png", "sub/b.png"), images, strict=True):
        Image.fromarray(image).save(tmp_path / name)
    return np.stack([resize_image(image, SIZE) for image in images])


def load(tmp_path, text: str | bytes, signature: Signature = ONE):
    (tmp_path / "t.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return load_values(tmp_path / "t.csv", signature)


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        TABLE.replace("\n", "\r\n") + "\r\n\r\n",
        b"\xef\xbb\xbf" + TABLE.encode(),
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        TABLE.replace(",", " , "),
        TABLE.replace("file", "Image"),
        TABLE.replace("file", "whatever stands first"),
        "x,FileName,y\n1,a.png,-2.5\n300,sub/b.png,0\n",
        "\ufeffx,file,y\n1,a.png,-2.5\n300,sub/b.png,0\n",
        'x,y,path\n1,-2.5,"a.png"\n300,0,sub/b.png',
    ],
)
def test_pictures_and_numbers_are_read_from_every_way_to_write_a_table(text, pictures, tmp_path):
    found = load(tmp_path, text)
    np.testing.assert_array_equal(found.inputs["photo"], pictures)
    np.testing.assert_array_equal(found.targets, [[1, -2.5], [300, 0]])
    assert found.targets.dtype == np.float32
    assert (found.columns, found.source, len(found)) == (("x", "y"), "t.csv", 2)


def test_columns_may_be_called_by_numbers_where_one_is_called_file(pictures, tmp_path):
    assert load(tmp_path, "file,0,1\na.png,0,1\nsub/b.png,1,1\n").columns == ("0", "1")


def test_columns_called_as_another_input_are_fed_to_it(pictures, tmp_path):
    text = "file,pose[1],age,x,pose[0],word\na.png,1,20,7,2,4\nsub/b.png,3,30,8,4,0\n"
    found = load(tmp_path, text, Signature((AGE, PHOTO, POSE, WORD), ()))
    assert list(found.inputs) == ["age", "photo", "pose", "word"]
    np.testing.assert_array_equal(found.inputs["photo"], pictures)
    assert found.inputs["age"].tolist() == [[20], [30]]
    assert found.inputs["pose"].tolist() == [[2, 1], [4, 3]]
    assert found.inputs["word"].tolist() == [4, 0]
    assert found.inputs["word"].dtype == np.int32
    assert (found.columns, found.targets.tolist()) == (("x",), [[7], [8]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,x\na.png,1\nsub/b.png,one\n", "t.csv:3: column 'x' needs a number. Received: 'one'"),
        ("file,x\na.png,1\nsub/b.png,\n", "t.csv:3: column 'x' needs a number. Received: ''"),
        ("file,x\na.png,nan\n", "t.csv:2: column 'x' needs a number"),
        ("file,x\na.png,-inf\n", "t.csv:2: column 'x' needs a number"),
        ("file,x\na.png,1e39\n", "t.csv:2: column 'x' needs a number"),
        ("file;x\na.png;0,5\n", "t.csv:2: column 'x' needs a number. Received: '0,5'"),
        ("file,x\n\na.png,1\nc.png,2\n", "t.csv:4: "),
        ("file,x\na.png,1\nt.csv,2\n", "t.csv:3: "),
        ("file,x\na.png,1,2\n", "t.csv:2: the header names 2 columns. Received: 3"),
        ("file,x\na.png\n", "t.csv:2: the header names 2 columns. Received: 1"),
        ("a.png,1\nsub/b.png,2\n", "first line must name the columns"),
        (",file,x\n0,a.png,1\n", "column 1 has no name"),
        ("file,x,x\na.png,1,2\n", "two columns are called 'x'"),
        ("file\na.png\n", "no column of numbers"),
        ("file,x\n", "a line for each picture"),
        ("", "a line for each picture"),
        (b"\xff\xfe\0", "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line_that_says_where(text, said, pictures, tmp_path):
    with pytest.raises(DataError) as caught:
        load(tmp_path, text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_one_line(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_values(tmp_path / "none.csv", ONE)
    with pytest.raises(DataError, match="cannot be read"):
        load_values(tmp_path, ONE)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((PHOTO, POSE), r"no column 'pose\[0\]'"),
        ((PHOTO, AGE), "no column 'age'"),
        ((PHOTO, InputSpec("signal", (None, None, 2))), "cannot hold the input signal"),
        ((POSE,), "a CSV names pictures"),
    ],
)
def test_inputs_that_the_table_does_not_feed_are_named(inputs, said, pictures, tmp_path):
    with pytest.raises(DataError, match=said):
        load(tmp_path, TABLE, Signature(inputs, ()))


def test_an_index_that_is_no_whole_number_is_refused(pictures, tmp_path):
    signature = Signature((PHOTO, WORD), ())
    for value, said in (("1.5", "takes integers"), ("5", "0..4")):
        with pytest.raises(DataError, match=said):
            load(tmp_path, f"file,x,word\na.png,1,{value}\n", signature)


def test_pictures_have_the_channels_of_the_model(tmp_path):
    np.save(tmp_path / "a.npy", np.full((*SIZE, 5), 7, np.uint8))
    scale, offset = (1.0,) * 5, (0.0,) * 5
    five = InputSpec(
        "x", (None, 4, 4, 5), preparation=Preprocess(SIZE, (4, 4), None, scale, offset)
    )
    found = load(tmp_path, "file,y\na.npy,1\n", Signature((five,), ()))
    np.testing.assert_array_equal(found.inputs["x"], np.full((1, *SIZE, 5), 7))

"""A table of pictures and numbers: what a regression, or a model of several labels, is held to."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevit.base.bounds import DOCUMENT_BYTES, check_regular
from edgevit.base.errors import DataError, in_one_line
from edgevit.core.signature import InputSpec, Signature
from edgevit.data.images import read_image
from edgevit.data.inputs import describe, describe_input, fit_inputs

FILE_COLUMNS = ("file", "image", "filename", "path")  # in any case
DELIMITERS = ",;\t"
MOST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class LabelledValues:
    """Inputs of a model, and what its outputs should be.

    Attributes:
        inputs: by name, in the model's order; all N ...
        targets: float32 N K.
        columns: the name of each of the K targets.
        source: the table's name.
    """

    inputs: dict[str, np.ndarray]
    targets: np.ndarray
    columns: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Table:
    """Rows of a picture's name and numbers.

    Attributes:
        path: the file.
        columns: names of the numbers.
        lines: the line of each row in the file, counted from one.
        files: the picture of each row.
        numbers: float64 N columns.
    """

    path: Path
    columns: tuple[str, ...]
    lines: tuple[int, ...]
    files: tuple[str, ...]
    numbers: np.ndarray

    def pick(self, names: list[str]) -> np.ndarray:
        """Columns by their names. float64 N names."""
        return self.numbers[:, [self.columns.index(name) for name in names]]


def load_values(path: str | Path, signature: Signature) -> LabelledValues:
    """Reads a CSV whose rows name a picture and the numbers that belong to it.

    The first line names the columns. The one called file, image, filename or path names the
    picture, relative to the CSV's own folder; without one, the first column does. Every other
    column is a number: a target of a regression, or 0 or 1 for one of several labels. Columns that
    bear the name of another input of the model are fed to it: ``age`` to an input of one number,
    ``pose[0]`` and ``pose[1]`` to one of two.

    Args:
        path: the table, in UTF-8, separated by commas, semicolons or tabs.
        signature: of the model. Pictures are resized to what it takes.

    Returns:
        All rows, in the order of the table.

    Raises:
        DataError: no such table, no target in it, or a row that cannot be read; the message names
            the line.
    """
    path = Path(path)
    picture = signature.picture
    if picture is None or picture.preparation is None:
        raise DataError(f"{path}: a CSV names pictures. {describe(signature)}")
    table = _read_table(path)
    fed = {
        spec.name: _find_columns(spec, table) for spec in signature.inputs if spec is not picture
    }
    used = {name for names in fed.values() for name in names}
    targets = [name for name in table.columns if name not in used]
    if not targets:
        raise DataError(f"{path}: no column of numbers is left as a target.")
    arrays = {
        spec.name: _take_columns(spec, fed[spec.name], table)
        for spec in signature.inputs
        if spec is not picture
    }
    size, channels = picture.preparation.input_size, picture.preparation.channels
    arrays[picture.name] = _read_pictures(table, size, channels)
    return LabelledValues(
        inputs=fit_inputs(arrays, signature, str(path)),
        targets=table.pick(targets).astype(np.float32),
        columns=tuple(targets),
        source=path.name,
    )


def _find_columns(spec: InputSpec, table: Table) -> list[str]:
    """Names of the columns that are fed to an input of numbers."""
    shape = spec.raw_shape
    if len(shape) > 1 or None in shape:
        raise DataError(f"{table.path}: a CSV cannot hold the input {describe_input(spec)}.")
    length = shape[0] if shape else 1
    assert length is not None
    names = [spec.name] if length == 1 else [f"{spec.name}[{index}]" for index in range(length)]
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise DataError(
            f"{table.path}: no column {missing[0]!r}. The model also takes {describe_input(spec)}."
        )
    return names


def _take_columns(spec: InputSpec, names: list[str], table: Table) -> np.ndarray:
    """What is fed to an input of numbers: N, or N D."""
    values = table.pick(names)
    if np.dtype(spec.raw_dtype).kind in "iu" and (values == np.floor(values)).all():
        values = values.astype(np.int64)
    return values if spec.raw_shape else values[:, 0]


def _read_pictures(table: Table, size: tuple[int, int], channels: int) -> np.ndarray:
    """uint8 N rows columns channels."""
    pictures = []
    for line, name in zip(table.lines, table.files, strict=True):
        try:
            pictures.append(read_image(table.path.parent / name, size, channels))
        except DataError as error:
            raise DataError(f"{table.path}:{line}: {error}") from None
    return np.stack(pictures)


def _read_table(path: Path) -> Table:
    """The rows of a CSV; every cell but the picture's name is a number."""
    rows = _read_rows(path)
    if len(rows) < 2:
        raise DataError(f"{path}: expected a line of column names and a line for each picture.")
    _, header = rows[0]
    place = _check_header(path, header)
    lines, files, numbers = [], [], []
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise DataError(
                f"{path}:{line}: the header names {len(header)} columns. Received: {len(row)}"
            )
        lines.append(line)
        files.append(row[place])
        numbers.append(
            [
                _read_number(text, f"{path}:{line}: column {header[column]!r}")
                for column, text in enumerate(row)
                if column != place
            ]
        )
    columns = tuple(name for column, name in enumerate(header) if column != place)
    table = np.array(numbers, dtype=np.float64).reshape(len(lines), len(columns))
    return Table(path, columns, tuple(lines), tuple(files), table)


def _read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """(line, cells without spaces around them) of every row that is not empty."""
    if not path.exists():
        raise DataError(f"{path}: no such file.")
    check_regular(path, DOCUMENT_BYTES, DataError)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(DELIMITERS, key=header.count))
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: the table cannot be read ({in_one_line(error)}).") from None
    return [(line, row) for line, row in rows if any(row)]


def _check_header(path: Path, header: list[str]) -> int:
    """The place of the column that names pictures."""
    places = [index for index, name in enumerate(header) if name.lower() in FILE_COLUMNS]
    if not places and all(_is_number(name) for name in header[1:]):
        raise DataError(
            f"{path}: the first line must name the columns, such as file,age. "
            f"Received: {','.join(header)[:80]}"
        )
    if "" in header:
        raise DataError(
            f"{path}: column {header.index('') + 1} has no name. If it numbers the rows, write the "
            "table without it."
        )
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two columns are called {twice!r}.")
    return places[0] if places else 0


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_number(text: str, where: str) -> float:
    value = float(text) if _is_number(text) else math.nan
    if not abs(value) <= MOST:  # NaN is no number either
        raise DataError(f"{where} needs a number. Received: {text!r}")
    return value

"""Files of class names: one a line, or a JSON list."""

from __future__ import annotations

import re
from pathlib import Path

from edgevit.base.documents import parse_json, read_text
from edgevit.base.errors import ConfigError

NUMBERED = re.compile(r"(\d+)(?:\s*[:,;]\s*|\s+)(\S.*)")  # "0 tench", "0: tench", "0,tench"


def read_class_names(path: Path) -> tuple[str, ...]:
    """Class names in the order of a model's classes.

    A byte order mark, the line ends of Windows and empty lines do not matter. Numbers before the
    names are dropped if every line has one and they count 0, 1, 2 ...

    Args:
        path: a text in UTF-8 with a name a line, or a .json list.

    Raises:
        ConfigError: no such file, no text, no name in it, or numbered lines in another order.
    """
    text = read_text(path, "the labels", ConfigError)
    known = path.suffix == ".json"
    names = parse_json(text, str(path), "the list", ConfigError) if known else text.split("\n")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{path}: expected a JSON list of class names.")
    found = [name.strip() for name in names if name.strip()]
    if not found:
        raise ConfigError(f"{path}: holds no class name.")
    if path.suffix != ".json":
        found = _drop_numbers(found, path)
    return tuple(found)


def _drop_numbers(lines: list[str], path: Path) -> list[str]:
    """The lines of a text without numbers before the names, if that is what they are."""
    matches = [NUMBERED.fullmatch(line) for line in lines]
    numbered = [(int(match[1]), match[2]) for match in matches if match]
    numbers = [number for number, _ in numbered]
    if len(numbered) < len(lines) or sorted(numbers) != list(range(len(lines))):
        return lines
    if len(lines) > 1 and len({name for _, name in numbered}) == 1:
        return lines  # "0 cars", "1 cars", "2 cars": the numbers tell the classes apart
    if numbers != sorted(numbers):
        place = next(index for index, number in enumerate(numbers) if number != index)
        raise ConfigError(
            f"{path}: the numbered lines must count 0, 1, 2 and so on. "
            f"Received: {lines[place]!r} in place {place}"
        )
    return [name for _, name in numbered]

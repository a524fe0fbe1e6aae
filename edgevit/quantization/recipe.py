"""Recipes: which precision each operator of which layer gets. Small files, made to be edited."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgevit.base.documents import parse_toml, read_text
from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.core.target import Precision

VERSION = 1
PRECISIONS = (Precision.FLOAT32, Precision.DYNAMIC, Precision.INT8)
ANY = "*"

HEADER = """\
# Precisions of {model}, for: edgevit export MODEL --format tflite-mixed --recipe-file THIS
# An operator takes the first rule whose patterns match the path of its Keras layer and its kind
# (* stands for anything, slashes included), else the default. precision: "float32", "dynamic" (int8
# weights, activations quantised while it runs) or "int8" (static). Where the default, or a rule
# whose op has a *, names a precision without a kernel, the operator stays float32.
"""


@dataclass(frozen=True)
class Rule:
    """One row of a recipe.

    Attributes:
        layer: pattern of the Keras layer's path, as of a shell: ``*`` and ``?``.
        op: pattern of the operator's kind, such as "FULLY_CONNECTED".
        precision: of the operators that match.
    """

    layer: str
    op: str
    precision: Precision

    def matches(self, layer: str, op: str) -> bool:
        """Whether an operator falls under this rule."""
        return fnmatch.fnmatchcase(layer, self.layer) and fnmatch.fnmatchcase(op, self.op)


@dataclass(frozen=True)
class Recipe:
    """An ordered list of rules.

    Attributes:
        model: what it was made for; for people.
        rules: the first that matches counts.
        default: precision of operators that no rule matches.
        notes: lines about how it was found; for people.
    """

    model: str
    rules: tuple[Rule, ...]
    default: Precision = Precision.FLOAT32
    notes: tuple[str, ...] = ()

    def find_rule(self, layer: str, op: str) -> int | None:
        """Place of the rule that decides about an operator; None: the default does."""
        return next((n for n, rule in enumerate(self.rules) if rule.matches(layer, op)), None)

    def precision_of(self, layer: str, op: str) -> Precision:
        """What an operator gets, whether or not there is such a kernel."""
        found = self.find_rule(layer, op)
        return self.default if found is None else self.rules[found].precision

    def to_text(self) -> str:
        """The recipe as TOML, with an explanation on top."""
        lines = [HEADER.format(model=self.model).rstrip(), *(f"# {note}" for note in self.notes)]
        lines += [f"version = {VERSION}", f"model = {_quoted(self.model)}"]
        lines.append(f"default = {_quoted(self.default)}")
        for rule in self.rules:
            lines += ["", "[[rule]]", f"layer = {_quoted(rule.layer)}", f"op = {_quoted(rule.op)}"]
            lines.append(f"precision = {_quoted(rule.precision)}")
        return "\n".join(lines) + "\n"

    @classmethod
    def from_text(cls, text: str, name: str) -> Recipe:
        """Reads :meth:`to_text`, or what somebody made of it.

        Raises:
            ModelFileError: no TOML, an unknown key or precision, or of a newer version.
        """
        document = parse_toml(text, name, "the recipe")
        version = document.pop("version", None)
        if version != VERSION:
            raise ModelFileError(
                f"{name}: a recipe says version = {VERSION}. Received: version = {version!r}"
            )
        _check_keys(document, ("model", "default", "rule"), name)
        rows = document.get("rule", [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ModelFileError(f"{name}: rules are written as [[rule]] tables.")
        rules = []
        for number, row in enumerate(rows, 1):
            place = f"{name}, rule {number}"
            _check_keys(row, ("layer", "op", "precision"), place)
            if "precision" not in row:
                raise ModelFileError(f"{place}: says no precision.")
            patterns = row.get("layer", ANY), row.get("op", ANY)
            if not all(isinstance(pattern, str) and pattern for pattern in patterns):
                raise ModelFileError(f"{place}: layer and op are patterns in quotes.")
            rules.append(Rule(*patterns, _read_precision(row["precision"], place)))
        default = _read_precision(document.get("default", Precision.FLOAT32), name)
        return cls(str(document.get("model", "")), tuple(rules), default)


def read_recipe(path: str | Path) -> Recipe:
    """The recipe in a file.

    Raises:
        ModelFileError: it cannot be read, or is no recipe.
    """
    return Recipe.from_text(read_text(Path(path), "the recipe"), str(path))


def check_used(recipe: Recipe, operators: Sequence[tuple[str, str]], name: str) -> None:
    """Refuses a recipe with a rule that decides about nothing: it is misspelt or hidden by another.

    Args:
        recipe: rules.
        operators: (layer, kind) of each.
        name: how the error calls the recipe.

    Raises:
        ConfigError: there is such a rule.
    """
    used = {recipe.find_rule(layer, op) for layer, op in operators}
    for number, rule in enumerate(recipe.rules):
        if number in used:
            continue
        hidden = any(rule.matches(layer, op) for layer, op in operators)
        why = (
            "every operator it matches falls under a rule above it. Move it up or remove it."
            if hidden
            else "it matches no operator. 'edgevit profile FILE --by node' lists layers and kinds."
        )
        raise ConfigError(
            f"{name}: rule {number + 1} (layer {rule.layer!r}, op {rule.op!r}) does nothing: {why}"
        )


def _check_keys(table: dict, known: tuple[str, ...], place: str) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ModelFileError(
            f"{place}: unknown key {unknown[0]!r}. Known: {', '.join(sorted(known))}."
        )


def _read_precision(value: object, place: str) -> Precision:
    if value not in [str(precision) for precision in PRECISIONS]:
        raise ModelFileError(
            f"{place}: precision is one of {', '.join(PRECISIONS)}. Received: {value!r}"
        )
    return Precision(str(value))


def _quoted(text: str) -> str:
    return json.dumps(str(text), ensure_ascii=False)  # a JSON string is a TOML string

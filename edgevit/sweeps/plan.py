"""Plans of a sweep: TOML that says which models go to which targets, with which data and budgets.

Names of files are relative to the plan's folder. ``$NAME`` in one is a variable.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from edgevit.base.documents import from_plain, parse_toml, read_text
from edgevit.base.errors import ConfigError, UnknownNameError, in_one_line, suggest
from edgevit.base.patterns import find_paths
from edgevit.core.cells import Budgets, State
from edgevit.core.target import Target
from edgevit.formats.options import list_options, takes
from edgevit.formats.registry import ALL, find_target, find_targets, list_targets

VERSION = 1
SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>B|kB|MB|GB)")
UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
GLOB = re.compile(r"[*?\[]")
MODELS = 10_000  # of one plan, whose rows are compared with one another
CELLS = 20_000
ROWS = 1_000  # of any other list
NAME = re.compile(r"[A-Za-z0-9][\w.+@-]*")


@dataclass(frozen=True)
class Settings:
    """What may be said of every model, of a target and of one model; the last of these wins.

    Attributes:
        calibration: samples for int8.
        ranges: a file of activation ranges instead.
        evaluation: samples that files and their float model are measured on.
        limit: only so many of them, drawn by a fixed seed.
        latency: whether latency is measured.
        keep_files: whether files stay beside their results; None: they do.
        max_drop, max_size, min_agreement, accept: see :class:`edgevit.core.cells.Budgets`.
        options: keyword arguments of :func:`edgevit.export`, merged by their names.
    """

    calibration: str | None = None
    ranges: str | None = None
    evaluation: str | None = None
    limit: int | None = None
    latency: bool | None = None
    keep_files: bool | None = None
    max_drop: float | None = None
    max_size: str | int | None = None
    min_agreement: float | None = None
    accept: tuple[str, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelRow(Settings):
    """One ``[[model]]``.

    Attributes:
        source: what ``edgevit export`` takes; a pattern such as ``nets/*.keras`` means several.
        name: in the results; None: the source's own.
        targets: instead of those of the plan.
        exclude: targets that it does not go to.
        depends: files, or patterns of files, that the model is built from beside its source.
    """

    source: str = ""
    name: str | None = None
    targets: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetRow(Settings):
    """One ``[[target]]``.

    Attributes:
        name: of a target, or a pattern such as ``onnx-*``.
    """

    name: str = ""


@dataclass(frozen=True)
class PairRow:
    """One ``[[exclude]]`` or ``[[include]]``.

    Attributes:
        model: name or pattern.
        target: likewise.
        reason: for people.
    """

    model: str = "*"
    target: str = "*"
    reason: str = ""


@dataclass(frozen=True)
class Limits:
    """What one cell may take.

    Attributes:
        seconds: wall time.
        memory: of its process, such as "4 GB"; None: what the machine has.
        threads: of its kernels, and the cores that it is given. Results of floating point may
            depend on them, so they are part of the plan and not of the machine.
    """

    seconds: float = 3600.0
    memory: str | int | None = None
    threads: int = 1

    @property
    def memory_bytes(self) -> int | None:
        """Bytes; None: no limit of its own."""
        return None if self.memory is None else read_size(self.memory, "[limits] memory")


@dataclass(frozen=True)
class PlanDocument:
    """A plan as it is written.

    Attributes:
        version: of this kind of document.
        title: for people; None: the name of the file.
        targets: names, patterns, or "all".
        model, target, exclude, include: see the classes.
        defaults: of every model.
        limits: of every cell.
    """

    version: int = VERSION
    title: str | None = None
    targets: tuple[str, ...] = ()
    model: tuple[ModelRow, ...] = ()
    target: tuple[TargetRow, ...] = ()
    exclude: tuple[PairRow, ...] = ()
    include: tuple[PairRow, ...] = ()
    defaults: Settings = Settings()
    limits: Limits = Limits()


@dataclass(frozen=True)
class PlannedCell:
    """One model in one target, as a plan asks for it.

    Attributes:
        model: its name in the plan.
        source: what is exported.
        target: row of the table.
        settings: of this cell, merged.
        budgets: likewise.
        depends: files that the model is built from.
    """

    model: str
    source: str
    target: Target
    settings: Settings
    budgets: Budgets
    depends: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For people and for locks."""
        return f"{self.model}/{self.target.name}"


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        title: for people.
        folder: that its files are relative to.
        cells: in the order of models, then of targets.
        limits: of each.
    """

    title: str
    folder: Path
    cells: tuple[PlannedCell, ...]
    limits: Limits

    def only(self, patterns: Sequence[str]) -> Plan:
        """The cells whose MODEL/TARGET, or model, fits a pattern; all where there is none.

        Raises:
            ConfigError: a pattern that no cell fits.
        """
        for pattern in patterns:
            if not any(_fits(cell, pattern) for cell in self.cells):
                raise ConfigError(
                    f"--only {pattern}: no cell of {self.title} fits. Cells are called like "
                    f"{self.cells[0].name}."
                )
        chosen = (c for c in self.cells if any(_fits(c, pattern) for pattern in patterns))
        return replace(self, cells=tuple(chosen)) if patterns else self


def _fits(cell: PlannedCell, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in (cell.name, cell.model))


def read_plan(path: Path, option_names: Collection[str]) -> Plan:
    """Reads a plan and finds all that it names.

    Args:
        path: a TOML file.
        option_names: keyword arguments that an export takes.

    Raises:
        ConfigError: it cannot be used; one line says where and what to write instead.
    """
    document = parse_plan(read_text(path, "the plan", ConfigError), str(path), option_names)
    return expand_plan(document, path)


def parse_plan(text: str, name: str, option_names: Collection[str]) -> PlanDocument:
    """The document of a plan's text; see :func:`read_plan`."""
    table = parse_toml(text, name, "the plan", ConfigError)
    if table.get("version", VERSION) != VERSION:
        raise ConfigError(
            f"{name}: a plan says version = {VERSION}. Received: version = {table['version']!r}"
        )
    _check_keys(table, PlanDocument, name)
    _check_lengths(table, name)
    for section, kind in (("defaults", Settings), ("limits", Limits)):
        _check_keys(table.get(section, {}), kind, f"{name}, [{section}]")
    for section, row in (
        ("model", ModelRow),
        ("target", TargetRow),
        ("exclude", PairRow),
        ("include", PairRow),
    ):
        rows = table.get(section, [])
        if not isinstance(rows, list):
            raise ConfigError(f"{name}: write [[{section}]], with two brackets: there may be many.")
        for number, found in enumerate(rows, 1):
            _check_keys(found, row, f"{name}, [[{section}]] {number}")
    for place, options in _list_options(table):
        _check_names(options, option_names, f"{name}, {place}", "option")
    try:
        return from_plain(PlanDocument, table)
    except ValueError as error:
        raise ConfigError(f"{name}: {in_one_line(error, 200)}.") from None


def _list_options(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "[defaults]", table.get("defaults", {}).get("options", {})
    for section in ("model", "target"):
        for number, row in enumerate(table.get(section, []), 1):
            yield f"[[{section}]] {number}", row.get("options", {})


def _check_lengths(table: Mapping[str, Any], name: str) -> None:
    """Refuses a plan that would take hours to lay out.

    Raises:
        ConfigError: it has too many rows.
    """
    for key, rows in table.items():
        _check_length(rows, MODELS if key == "model" else ROWS, f"{name}, {key}")
        for row in rows if isinstance(rows, list) else ():
            for part, values in row.items() if isinstance(row, dict) else ():
                _check_length(values, ROWS, f"{name}, {key}, {part}")


def _check_length(rows: object, most: int, place: str) -> None:
    if isinstance(rows, list) and len(rows) > most:
        raise ConfigError(f"{place}: {len(rows):,} rows, more than {most:,}. Split the plan.")


def _check_keys(table: Any, kind: type, place: str) -> None:
    if not isinstance(table, dict):
        raise ConfigError(f"{place}: is no table. Received: {table!r}")
    _check_names(table, [part.name for part in fields(kind)], place, "key")


def _check_names(found: Any, known: Collection[str], place: str, noun: str) -> None:
    for name in found if isinstance(found, dict) else ():
        if name not in known:
            hint = suggest(name, known) or f"Known: {', '.join(sorted(known))}."
            raise ConfigError(f"{place}: unknown {noun} {name!r}. {hint}")


def expand_plan(document: PlanDocument, path: Path) -> Plan:
    """Every cell that a document means.

    Args:
        document: of :func:`parse_plan`.
        path: of the plan.

    Raises:
        ConfigError: no model or target, a file that is not there, a pattern that fits nothing.
    """
    folder = path.resolve().parent
    if not document.model:
        raise ConfigError(f'{path}: names no model. Add a [[model]] with source = "NAME".')
    sources = [
        found
        for number, row in enumerate(document.model, 1)
        for found in _find_sources(row, folder, f"{path}, [[model]] {number}")
    ]
    names = name_sources(sources)
    _check_pairs(document, names, path)
    _check_limits(document.limits, path)
    rows = [(row, _choose(row.name, f"{path}, [[target]]")) for row in document.target]
    cells = []
    for name, (row, source) in zip(names, sources, strict=True):
        for target in _targets_of(document, row, name, path):
            merged = _merge(document.defaults, rows, row, target)
            settings = _place_settings(merged, folder, f"{path}, {name}/{target.name}")
            budgets = _budgets_of(settings, f"{path}, {name}")
            depends = _find_depends(row, folder, f"{path}, {name}")
            cells.append(PlannedCell(name, source, target, settings, budgets, depends))
            if len(cells) > CELLS:
                raise ConfigError(f"{path}: more than {CELLS:,} cells. Split the plan.")
    if not cells:
        raise ConfigError(f"{path}: every cell is excluded. Drop an exclude, or add a target.")
    _check_used(document, cells, path)
    return Plan(document.title or path.stem, folder, tuple(cells), document.limits)


def _find_sources(row: ModelRow, folder: Path, place: str) -> list[tuple[ModelRow, str]]:
    """The models of one row: those that its pattern fits."""
    if not row.source:
        raise ConfigError(f'{place}: lacks source = "NAME, FILE or module:function".')
    text = _expand(row.source, place)
    if not GLOB.search(text):
        return [(row, _place(text, folder))]
    found = _find_files(folder, text, place)
    if not found:
        raise ConfigError(f"{place}: no file fits {row.source!r} in {folder}.")
    if row.name is not None and len(found) > 1:
        raise ConfigError(
            f"{place}: name = {row.name!r} would be that of {len(found)} files. Drop it, and each "
            "has the name of its file."
        )
    return [(row, path) for path in found]


def _find_files(folder: Path, text: str, place: str) -> list[str]:
    return find_paths(folder, text, f"{place}, {text!r}", ConfigError)


def _place(text: str, folder: Path) -> str:
    """A file of the plan's folder by its whole path; anything else, such as a name, as it is."""
    path = folder / text
    looks = path.exists() or "/" in text or Path(text).suffix in (".keras", ".h5", ".safetensors")
    return str(path) if looks else text


def name_sources(sources: Sequence[tuple[ModelRow, str]]) -> list[str]:
    """A name for each model: the row's, else of its file without what it ends with.

    Raises:
        ConfigError: two models of one name, or one that no folder could have.
    """
    names: dict[str, None] = {}
    for row, source in sources:
        stem = Path(source).stem if os.path.sep in source else source
        name = row.name if row.name is not None else re.sub(r"[^\w.+@-]", "-", stem)
        if not NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} is no name of a model: it becomes a folder, so give a name of letters, "
                "digits, dots and hyphens."
            )
        if name in names:
            raise ConfigError(
                f"two models are called {name!r} ({source} is one). Give one of them another name "
                "= in its [[model]]."
            )
        names[name] = None
    return list(names)


def _targets_of(document: PlanDocument, row: ModelRow, name: str, path: Path) -> list[Target]:
    """The targets of a model, in the order of the table."""
    wanted = row.targets if row.targets is not None else document.targets
    chosen = {target.name for text in wanted for target in _choose(text, f"{path}, {name}")}
    for text in row.exclude:
        chosen -= {target.name for target in _choose(text, f"{path}, {name}, exclude")}
    for pairs, change in ((document.exclude, chosen.discard), (document.include, chosen.add)):
        for pair in pairs:
            if fnmatch.fnmatchcase(name, pair.model):
                for target in _choose(pair.target, f"{path}"):
                    change(target.name)
    if not wanted and not chosen:
        raise ConfigError(
            f'{path}: {name} has no target. Add targets = ["tflite-int8"] to the plan; '
            "'edgevit targets' lists them."
        )
    return [target for target in list_targets().values() if target.name in chosen]


def _choose(text: str, place: str) -> list[Target]:
    """Targets of a name, of "all" or of a pattern.

    Raises:
        ConfigError: there is none.
    """
    if text == "*":
        text = ALL
    if not text:
        raise ConfigError(f"{place}: a target has no name. 'edgevit targets' lists them.")
    if GLOB.search(text):
        found = [t for t in list_targets().values() if fnmatch.fnmatchcase(t.name, text)]
        if not found:
            raise ConfigError(f"{place}: no target fits {text!r}. 'edgevit targets' lists them.")
        return found
    try:
        return find_targets(text) if text == ALL else [find_target(text)]
    except UnknownNameError as error:
        raise ConfigError(f"{place}: {error}") from None


def _check_pairs(document: PlanDocument, names: Collection[str], path: Path) -> None:
    for section, pairs in (("exclude", document.exclude), ("include", document.include)):
        for number, pair in enumerate(pairs, 1):
            if not any(fnmatch.fnmatchcase(name, pair.model) for name in names):
                hint = suggest(pair.model, names) or f"Models: {', '.join(names)}."
                raise ConfigError(
                    f"{path}, [[{section}]] {number}: no model is called {pair.model!r}. {hint}"
                )


def _check_limits(limits: Limits, path: Path) -> None:
    if not limits.seconds > 0:
        raise ConfigError(f"{path}, [limits]: seconds is more than 0. Received: {limits.seconds}")
    if limits.threads < 1:
        raise ConfigError(f"{path}, [limits]: threads is at least 1. Received: {limits.threads}")
    if limits.memory is not None:
        read_size(limits.memory, f"{path}, [limits] memory")


def _merge(
    defaults: Settings,
    targets: Sequence[tuple[TargetRow, list[Target]]],
    row: ModelRow,
    target: Target,
) -> Settings:
    """Defaults, then rows of targets that fit, then the model's own.

    An option that the target does not take is left out: it was said of others beside it.
    """
    levels = [defaults, *(own for own, found in targets if target in found), row]
    values: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for level in levels:
        options |= level.options
        for part in fields(Settings):
            value = getattr(level, part.name)
            if value is not None:
                values[part.name] = value
    known = list_options()
    taken = {n: v for n, v in options.items() if n not in known or takes(target, known[n])}
    return Settings(**values | {"options": taken})


def _check_used(document: PlanDocument, cells: Sequence[PlannedCell], path: Path) -> None:
    """Refuses an option that no cell takes.

    Raises:
        ConfigError: there is one.
    """
    used = {name for cell in cells for name in cell.settings.options}
    for level in (document.defaults, *document.target, *document.model):
        for name in level.options:
            if name not in used:
                takers = [t.name for t in list_targets().values() if takes(t, list_options()[name])]
                raise ConfigError(
                    f"{path}: the option {name!r} is for {', '.join(takers)}, and the plan has "
                    "none of these. Drop it."
                )


def _place_settings(settings: Settings, folder: Path, place: str) -> Settings:
    """Settings with every path whole.

    Raises:
        ConfigError: a file that is not there.
    """
    found: dict[str, Any] = {}
    for name in ("calibration", "ranges", "evaluation"):
        text = getattr(settings, name)
        if text is not None:
            found[name] = find_data(text, folder, f"{place}, {name}")
    options = dict(settings.options)
    for name in ("weights", "recipe", "sign"):
        if isinstance(options.get(name), str) and options[name] not in ("none", "imagenet"):
            options[name] = find_data(options[name], folder, f"{place}, {name}")
    return replace(settings, **found, options=options)


def find_data(text: str, folder: Path, place: str) -> str:
    """The whole path of data; a dataset that Keras brings stays a name.

    Raises:
        ConfigError: there is no such file.
    """
    from edgevit.data.datasets import KERAS_DATASETS

    expanded = _expand(text, place)
    path = folder / expanded
    if path.exists() or expanded in KERAS_DATASETS:
        return expanded if expanded in KERAS_DATASETS and not path.exists() else str(path)
    raise ConfigError(f"{place}: {path} is not there. Names are relative to the plan's folder.")


def _expand(text: str, place: str) -> str:
    expanded = os.path.expanduser(os.path.expandvars(text))
    if "$" in expanded:
        raise ConfigError(f"{place}: {text!r} names a variable that is not set.")
    return expanded


def _find_depends(row: ModelRow, folder: Path, place: str) -> tuple[str, ...]:
    found = []
    for text in row.depends:
        paths = _find_files(folder, _expand(text, place), place)
        files = [path for path in paths if os.path.isfile(path)]
        if not files:
            raise ConfigError(f"{place}, depends: no file fits {text!r} in {folder}.")
        _check_length(files, ROWS, f"{place}, depends, {text!r}")
        found += files
    return tuple(found)


def _budgets_of(settings: Settings, place: str) -> Budgets:
    """Budgets as numbers.

    Raises:
        ConfigError: one that makes no sense.
    """
    if settings.max_drop is not None and not 0 <= settings.max_drop <= 100:
        raise ConfigError(f"{place}: max_drop is in points, 0 to 100. {_got(settings.max_drop)}")
    agreement = settings.min_agreement
    if agreement is not None and not 0 <= agreement <= 1:
        raise ConfigError(f"{place}: min_agreement is a share, 0 to 1. {_got(agreement)}")
    if settings.max_drop is not None and settings.evaluation is None:
        raise ConfigError(f"{place}: max_drop is measured on samples: add evaluation = PATH.")
    size = settings.max_size
    return Budgets(
        settings.max_drop,
        None if size is None else read_size(size, f"{place}, max_size"),
        agreement,
        tuple(_read_states(settings.accept or (), place)),
    )


def _read_states(names: Iterable[str], place: str) -> Iterator[State]:
    known = [str(state) for state in State]
    for name in names:
        if name not in known:
            hint = suggest(name, known) or f"Known: {', '.join(known)}."
            raise ConfigError(f"{place}, accept: no outcome is called {name!r}. {hint}")
        yield State(name)


def read_size(value: str | int, place: str) -> int:
    """Bytes of "1.5 MB", or of a number.

    Raises:
        ConfigError: neither.
    """
    if isinstance(value, int) and value > 0:
        return value
    match = SIZE.fullmatch(str(value).strip())
    if match is None or not float(match["number"]):
        raise ConfigError(f'{place}: a size is written like "1.5 MB". {_got(value)}')
    return int(float(match["number"]) * UNITS[match["unit"]])


def _got(value: object) -> str:
    return f"Received: {value!r}"

"""Renders the reference from the code: command line, Python, targets, tasks, networks, exit codes.

python tools/reference_pages.py FOLDER
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import click

import edgevit
from edgevit.base import errors
from edgevit.cli.main import SETTINGS, VERBS, cli
from edgevit.core.parity import MEASURES
from edgevit.core.signature import Role
from edgevit.formats.registry import RUNTIMES, TARGETS
from edgevit.models.shipped import list_shipped
from edgevit.tasks import TASKS


def render_command_line() -> str:
    """Each verb with its usage, its text and its options."""
    lines = [
        "# Command line",
        "",
        "Written from the code. `edgevit VERB --help` says the same.",
        "",
    ]
    lines += ["| verb | what it does |", "| --- | --- |"]
    lines += [
        f"| [{v.name}](#edgevit-{v.name}) | {_cell(v.get_short_help_str(200))} |" for v in VERBS
    ]
    options = _options(cli, click.Context(cli, **SETTINGS))
    lines += ["", "## Before or behind any verb", "", *options]
    for verb in VERBS:
        context = click.Context(verb, info_name=f"edgevit {verb.name}", **SETTINGS)
        lines += ["", f"## edgevit {verb.name}", "", "```text", verb.get_usage(context), "```", ""]
        lines += [_click_text(verb.help or ""), "", *_options(verb, context)]
    return "\n".join(lines) + "\n"


def _options(command: click.Command, context: click.Context) -> list[str]:
    records = [
        record
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) is not None
    ]
    rows = [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in records]
    return ["| option | meaning |", "| --- | --- |", *rows] if rows else []


def _click_text(text: str) -> str:
    """A verb's docstring; what click leaves as it is becomes a block."""
    parts = []
    for part in inspect.cleandoc(text).split("\n\n"):
        if part.startswith("\b"):
            part = "```sh\n" + textwrap.dedent(part.removeprefix("\b\n")) + "\n```"
        parts.append(part)
    return "\n\n".join(parts)


ABOUT_PYTHON = """# Python

Written from the docstrings of all that `import edgevit` offers. In Jupyter, results show themselves
as tables, and a function that takes long shows a bar. A callback of yours (`status`, `progress` or
`watch`) takes its place; scripts see neither.
"""


def render_python() -> str:
    """Every public name with its signature and its docstring."""
    lines = [ABOUT_PYTHON, ""]
    values = {name: getattr(edgevit, name) for name in edgevit.__all__ if name != "__version__"}
    functions = {name: value for name, value in values.items() if inspect.isfunction(value)}
    raised = {
        name: value
        for name, value in values.items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    others = {name: v for name, v in values.items() if name not in {**functions, **raised}}
    for title, group in (("Functions", functions), ("Classes", others), ("Errors", raised)):
        lines += [f"## {title}", ""]
        for name in sorted(group):
            lines += [f"### {name}", "", *_signature(name, group[name]), *_docstring(group[name])]
    return "\n".join(lines) + "\n"


def _signature(name: str, value: object) -> list[str]:
    if not callable(value) or isinstance(value, type):
        return []
    parameters = inspect.signature(value)
    plain = f"edgevit.{name}{parameters}"
    shown = plain if len(plain) <= 88 else _broken(name, parameters)
    shown = re.sub(r"(: |-> )'([^']*)'", r"\1\2", shown)  # annotations are text
    arguments = inspect.signature(value).parameters.values()
    typed = [str(p.annotation) for p in arguments if "Unpack" in str(p.annotation)]
    lines = ["```py", shown, "```", ""]
    for annotation in typed:
        table = re.sub(r".*Unpack\[(\w+)\].*", r"\1", annotation)
        lines += _keywords(value, table)
    return lines


def _broken(name: str, signature: inspect.Signature) -> str:
    parts, starred = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("    *,")
            starred = True
        parts.append(f"    {parameter},")
    return "\n".join([f"edgevit.{name}(", *parts, f") -> {signature.return_annotation}"])


def _keywords(function: Callable, table: str) -> list[str]:
    """The keyword arguments that a TypedDict of the function's module names."""
    found = getattr(inspect.getmodule(function), table, None)
    if found is None:
        return []
    names = ", ".join(f"`{name}`" for name in found.__annotations__)
    return [f"Keyword arguments of `{table}`: {names}.", "", *_docstring(found)]


def _docstring(value: object) -> list[str]:
    """A docstring of Google's style as Markdown."""
    lines: list[str] = []
    for line in (inspect.getdoc(value) or "").splitlines():
        text = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", line).replace("``", "`")
        if re.fullmatch(r"(Args|Attributes|Raises|Returns|Yields):", text):
            lines += ["", f"**{text[:-1]}**", ""]
        elif match := re.match(r"    (\*{0,2}\w[\w, ]*): (.*)", text):
            lines.append(f"- `{match[1]}`: {match[2]}")
        else:
            lines.append(
                text.replace("    ", "  ", 1) if text.startswith("        ") else text.strip()
            )
    return [*lines, ""]


def render_targets() -> str:
    """Targets with their runtimes and limits, and the runtimes."""
    lines = [
        "# Targets and limits",
        "",
        "Written from the code. `edgevit targets --json` has all of it.",
        "",
    ]
    lines += ["| target | what it is | verified in | integers only | calibrated |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for row in TARGETS.values():
        runtimes = ", ".join((*row.runtimes, *(f"({n})" for n in row.runtimes_if_installed)))
        flags = ("yes" if row.integer_only else "", "yes" if row.needs_calibration else "")
        lines.append(
            f"| `{row.name}` | {_cell(row.summary)} | {runtimes} | {flags[0]} | {flags[1]} |"
        )
    lines += ["", "In brackets: where it is installed.", "", "## Limits", ""]
    roles = list(Role)
    lines += [f"| target | {' | '.join(roles)} | why |", f"|{' --- |' * (len(roles) + 2)}"]
    for row in TARGETS.values():
        cells = [_limit(row.tolerance.limit(role)) for role in roles]
        lines.append(f"| `{row.name}` | {' | '.join(cells)} | {_cell(row.tolerance.reason)} |")
    lines += [
        "",
        "First the largest mean/std, then the least agreement; see",
        "[What a verdict means](../explanation/verdict.md).",
        "",
        "## Runtimes",
        "",
    ]
    lines += ["| runtime | reads | device | installed by |", "| --- | --- | --- | --- |"]
    for run in RUNTIMES.values():
        lines.append(f"| `{run.name}` | {run.format} | {run.device} | `edgevit[{run.extra}]` |")
    return "\n".join(lines) + "\n"


def _limit(limit: object) -> str:
    relative, agreement = limit.relative, limit.agreement
    parts = [f"{100 * relative:g} %"] if relative < float("inf") else []
    return ", ".join([*parts, *([f"{agreement:g}"] if agreement else [])])


def render_tasks() -> str:
    """Tasks with the roles that they are about, and the measure of each role."""
    lines = [
        "# Tasks and roles",
        "",
        "Written from the code. [What goes in, and what comes",
        "out](../how-to/own-models.md#what-goes-in-and-what-comes-out) says how they are guessed.",
        "",
    ]
    lines += ["| task | what the model is for | roles |", "| --- | --- | --- |"]
    for task in TASKS.values():
        lines.append(f"| `{task.name}` | {_cell(task.summary)} | {', '.join(task.roles)} |")
    lines += ["", "| role | measure |", "| --- | --- |"]
    lines += [
        f"| `{role}` | {MEASURES.get(role, 'none; the error counts by itself')} |" for role in Role
    ]
    return "\n".join(lines) + "\n"


def render_networks() -> str:
    """What ships with weights."""
    lines = [
        "# Trained networks",
        "",
        "Written from `edgevit/models/registry.json`. `edgevit models` says which are here.",
        "",
    ]
    lines += [
        "| network | parameters | weights, MB | raw picture | top-1 % | comes with the package |"
    ]
    lines += ["| --- | ---: | ---: | --- | ---: | --- |"]
    for name, row in list_shipped().items():
        card = f"../../artifacts/{name.replace(':', '-')}/README.md"
        size = "x".join(map(str, row.input_size))
        lines.append(
            f"| [{name}]({card}) | {row.parameters:,} | {row.size_bytes / 1e6:.1f} | {size} | "
            f"{row.top1:.2f} | {'yes' if row.in_package else 'by EDGEVIT_WEIGHTS'} |"
        )
    sets = ", ".join(dict.fromkeys(row.dataset for row in list_shipped().values()))
    lines += ["", f"top-1: of float Keras on the test images of {sets}.", ""]
    lines += [
        "`EDGEVIT_WEIGHTS` names a folder like `artifacts` of a checkout, or an address that",
        "serves one. What is fetched is checked by its SHA-256 and kept in the cache of the user.",
        "In a checkout, `artifacts` is found by itself.",
    ]
    return "\n".join(lines) + "\n"


def render_exit_codes() -> str:
    """Exit codes of the command line, and the errors behind them."""
    rows = (
        ("0", "the verdict is pass, or there was none to give"),
        ("1", "lossy, fail or slower; a runtime, a converter or a missing package stopped it"),
        ("2", "what was handed over cannot be used: a name, an option, a file, data"),
        ("3", "`edgevit benchmark --baseline`: inconclusive"),
        ("130", "interrupted"),
    )
    lines = ["# Exit codes and errors", "", "| code | meaning |", "| --- | --- |"]
    lines += [f"| {code} | {meaning} |" for code, meaning in rows]
    lines += [
        "",
        "An error is one line on standard error: the fact, the limit, the next step. With",
        '`--json` it is `{"error": "..."}` on standard output too.',
        "",
    ]
    lines += ["| error in Python | code | meaning |", "| --- | ---: | --- |"]
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.EdgevitError):
            text = (inspect.getdoc(value) or "").splitlines()[0]
            lines.append(f"| `{name}` | {value.exit_code} | {_cell(text)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that fits into a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


PAGES: dict[str, Callable[[], str]] = {
    "command-line.md": render_command_line,
    "python.md": render_python,
    "targets.md": render_targets,
    "tasks.md": render_tasks,
    "networks.md": render_networks,
    "exit-codes.md": render_exit_codes,
}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for page, render in PAGES.items():
        (folder / page).write_text(render())

"""The fenced blocks of the documents: which are run, which are only parsed, and why.

    python tools/document_blocks.py

prints a line for each page and the sums. A page that shows commands behind "$ " is run whole by
``make test-long`` (tests/golden/test_document_blocks.py), and so are the notebooks. A block that
begins with the name of its file is a worked example, which the tests of CONTRIBUTING.md install. Of
other pages commands are parsed and Python is compiled.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^(?P<indent> *)```([\w+]*)\n(.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w/]+\.(?:py|toml))\n")  # the first line of a worked example
PAGES = sorted(
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("**/*.md"))
    if path.parent.name != "decisions"
)
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
# What becomes of a block that no test runs.
REASONS = {
    "": "parsed: commands on files that the reader has and the tests do not",
    "console": "parsed: commands on files that the reader has and the tests do not",
    "python": "compiled: names of a program of the reader's",
    "sh": "parsed: installs packages, or reaches another machine",
    "toml": "shown: a file of the reader's",
    "yaml": "shown: needs a service of continuous integration",
    "text": "shown: names of files",
    "js": "shown: runs in a page, see tests/conformance/test_deploy_browser.py",
    "kotlin": "shown: needs a telephone",
    "c++": "shown: needs a board",
}


def list_blocks(text: str, *languages: str) -> list[tuple[str, str]]:
    """(language, content) of the fenced blocks in these languages, of all if none is named."""
    found = [(match[2], textwrap.dedent(match[3])) for match in BLOCK.finditer(text)]
    return [block for block in found if block[0] in languages or not languages]


def read_example(text: str) -> dict[str, str]:
    """The files of a page's worked examples, by their names."""
    blocks = [block for _, block in list_blocks(text)]
    return {found[1]: block for block in blocks if (found := FILE.match(block))}


def is_run(text: str) -> bool:
    """Whether a page is run: it shows what somebody typed."""
    return any("$ " in block for _, block in list_blocks(text, "console"))


def read_steps(text: str) -> Iterator[tuple[str, str]]:
    """(command or code, what it prints) of a page, in order."""
    for language, block in list_blocks(text, "console", "python"):
        if language == "python":
            yield block, ""
            continue
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            yield command, printed.strip()


def tell_fates(text: str) -> list[str]:
    """What becomes of each block of a page: "run", or the reason why it is not."""
    run = is_run(text)
    return [
        "run"
        if FILE.match(block) or (run and language in ("console", "python"))
        else REASONS[language]
        for language, block in list_blocks(text)
    ]


def count_cells(path: Path) -> int:
    """How many cells of a notebook are code."""
    return path.read_text().count('"cell_type": "code"')


def main() -> None:
    total: Counter[str] = Counter()
    for path in PAGES:
        fates = Counter(tell_fates(path.read_text()))
        total += fates
        for fate, count in fates.items():
            print(f"{path.relative_to(ROOT)!s:42} {count:3} {fate}")
    for path in NOTEBOOKS:
        total["run"] += count_cells(path)
        print(f"{path.relative_to(ROOT)!s:42} {count_cells(path):3} run")
    print()
    for fate, count in total.most_common():
        print(f"{count:4} {fate}")


if __name__ == "__main__":
    main()

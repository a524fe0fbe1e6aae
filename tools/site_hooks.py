"""What the site has beside docs/: pages of the root, model cards, and the generated reference.

mkdocs calls :func:`on_files` and :func:`on_page_markdown`; see mkdocs.yml.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import notebook_pages  # noqa: E402
from reference_pages import PAGES  # noqa: E402

BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "artifacts/*/README.md", "artifacts/*/curves.png")
# Places that are files of the repository and no pages of the site.
SOURCES = re.compile(r"\[([^\]]*)\]\((?:\.\./)*(?:benchmarks|edgevit|tests|tools)\b[^)]*\)")


def on_files(files: Any, config: Any) -> Any:
    """Adds what lies beside docs/, and what is generated."""
    from mkdocs.structure.files import File

    for pattern in BESIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = str(path.relative_to(ROOT))
            files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    for name, render in PAGES.items():
        files.append(File.generated(config, f"reference/{name}", content=render()))
    for name, path in notebook_pages.PAGES.items():
        page = notebook_pages.render(path)
        files.append(File.generated(config, f"notebooks/{name}", content=page))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links that are right in the repository, as they are right in the site."""
    markdown = SOURCES.sub(r"\1", markdown)
    if page.file.src_uri.count("/") == 0 and page.file.src_uri in BESIDE:
        return markdown.replace("](docs/", "](")
    return re.sub(r"\]\(\.\./((?:\.\./)*)(artifacts/|CHANGELOG|CONTRIBUTING)", r"](\1\2", markdown)

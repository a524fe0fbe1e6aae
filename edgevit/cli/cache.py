"""``edgevit cache``."""

from __future__ import annotations

import click

from edgevit.cli import console, options


@click.command()
@click.option("--clear", is_flag=True, help="Delete what is kept.")
@options.as_json
def cache(clear: bool, as_json: bool) -> None:
    """Show what is kept between runs, or delete it.

    'edgevit export' keeps the float model's outputs on golden inputs, so that the next export of
    the same weights on this machine need not compute them again. What was not read for longest
    goes first. The folder is the user's cache folder, or EDGEVIT_CACHE.

    \b
    edgevit cache
    edgevit cache --clear
    """
    from edgevit.base.store import Store, cache_folder

    store = Store(cache_folder() / "outputs")
    cleared = store.clear() if clear else 0
    document = {
        "folder": str(store.folder),
        "entries": len(store.entries()),
        "size_bytes": store.size_bytes,
        "limit_bytes": store.limit_bytes,
        "cleared": cleared,
    }

    def text() -> str:
        kept = f"{len(store.entries())} kept outputs of float models"
        room = f"{console.megabytes(store.size_bytes)} of {store.limit_bytes // 1_000_000} MB"
        done = [f"{cleared} deleted."] if clear else []
        return "\n".join([*done, f"{kept}, {room}, in {store.folder}"])

    console.answer(document, as_json, text)

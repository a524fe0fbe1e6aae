"""The training behind weights: the run's file beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevit.base.documents import from_plain, read_json
from edgevit.base.errors import ModelFileError
from edgevit.base.files import digest_path

RUN_FILE = "recipe.json"  # in the folder of a finished run: the recipe as followed, and the facts
REMEDY = "Restore what was written beside the weights, or remove it."
UNSAID = 0.2  # share that was held out by runs whose file does not say


@dataclass(frozen=True)
class _Recipe:
    held_out: float = UNSAID


@dataclass(frozen=True)
class _Origin:
    run: _Run | None = None


@dataclass(frozen=True)
class _Run:
    """What :func:`runs_behind` and :func:`share_unseen` read of a run's file."""

    recipe: _Recipe = _Recipe()
    initial: _Origin | None = None
    teachers: tuple[_Origin, ...] | None = None


def read_run(folder: Path) -> dict[str, Any] | None:
    """The run behind the weights in a folder; None: nothing is known of it.

    Raises:
        ModelFileError: its file is damaged.
    """
    file = folder / RUN_FILE
    if not file.is_file():
        return None
    try:
        run = read_json(file, "the run's record")
        from_plain(_Run, run)
    except ModelFileError as error:
        raise ModelFileError(f"{error} {REMEDY}") from None
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{file}: is damaged ({error}). {REMEDY}") from None
    return run


def describe_origin(weights: Path) -> dict[str, Any]:
    """Identifies weights: "file", "sha256", and as "run" what :func:`read_run` finds beside."""
    return {
        "file": weights.name,
        "sha256": digest_path(weights),
        "run": read_run(weights.parent),
    }


def runs_behind(run: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """A run, those behind its initial weights, and those behind its teachers."""
    if run is None:
        return
    yield run
    for origin in (run.get("initial") or {}, *(run.get("teachers") or ())):
        yield from runs_behind(origin.get("run"))


def tell_once(run: dict[str, Any]) -> dict[str, Any]:
    """The same run, where what is behind the same weights is told only once.

    Networks that teach each other would double the file with every generation. Of origins with the
    same sha256 the first one, in the order of :func:`runs_behind`, keeps its "run"; the others have
    no such key (None says that nothing is known).
    """
    told: set[str] = set()

    def of_run(run: dict[str, Any]) -> dict[str, Any]:
        kept = dict(run)
        if run.get("initial"):
            kept["initial"] = of_origin(run["initial"])
        if run.get("teachers"):
            kept["teachers"] = [of_origin(origin) for origin in run["teachers"]]
        return kept

    def of_origin(origin: dict[str, Any]) -> dict[str, Any]:
        kept = dict(origin)
        if kept.get("run") is None:
            return kept
        digest = kept.get("sha256")
        if digest in told:
            del kept["run"]
            return kept
        if digest is not None:
            told.add(digest)
        kept["run"] = of_run(kept["run"])
        return kept

    return of_run(run)


def share_unseen(runs: Iterable[dict[str, Any] | None], data: str, most: float) -> float:
    """The share of a dataset's training images that may be validated on.

    Seeded splits are nested (:func:`edgevit.data.datasets.split_validation`), so the least share
    that any run held out is what none of them has learnt from.

    Args:
        runs: behind the weights in question; those before them are found inside.
        data: name of the dataset (``ImageDataset.source``). Runs on others have seen none of it.
        most: the share where all runs held out as much.
    """
    shares = [
        one.get("recipe", {}).get("held_out", UNSAID)
        for run in runs
        for one in runs_behind(run)
        if one.get("data") == data
    ]
    return min([most, *shares])

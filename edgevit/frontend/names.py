"""Names that every converter, file system and runtime takes."""

from __future__ import annotations

import re
import unicodedata

from edgevit.base.naming import take_name

LONGEST = 100  # characters; a file name may have 255 bytes, suffixes and temporary files included
FOREIGN = re.compile(r"[^A-Za-z0-9_.-]+")
SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.>-]*")  # as TensorFlow names operations and weights


def safe_name(name: str) -> str:
    """A name as close to the given one as converters allow.

    TensorFlow takes names of letters, digits, ``_``, ``.`` and ``-`` that begin with a letter or a
    digit; what else there is becomes ``_``, accents go. The name is safe as a file's as well.

    Args:
        name: of a model, a layer, an input or an output.

    Returns:
        ``name`` itself where it is safe already.
    """
    plain = (
        unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode()
    )
    found = FOREIGN.sub("_", plain).lstrip("_.-").rstrip("_.")
    return found[:LONGEST].rstrip("_.") or "unnamed"


def is_scope(name: str) -> bool:
    """Whether a layer of this name can be traced, and its weights saved."""
    return SCOPE.fullmatch(name) is not None


def unique_name(name: str, taken: set[str]) -> str:
    """A safe name that is not taken, by a number behind it where it must be. Takes it.

    Args:
        name: wished for.
        taken: names that are; the new one is added.
    """
    return take_name(safe_name(name), taken)

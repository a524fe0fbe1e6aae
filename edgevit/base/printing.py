"""Text that a terminal may be given, whatever a file or a folder is called."""

from __future__ import annotations

import re

# C0 and C1 controls but the line's end and the tab, directions of writing, and lone surrogates,
# which stand for bytes of a name that are no UTF-8.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


_COLOUR = re.compile("(\x1b\\[[0-9;]*m)")  # colour and weight of what follows


def printable(text: str, colours: bool = False) -> str:
    """Text with everything escaped that a terminal would obey or could not show.

    Bytes that are no UTF-8 become ``\\xff``, a control character as ``\\x1b``.

    Args:
        text: what is shown.
        colours: whether sequences that set the colour and the weight of text stay.
    """
    if colours:
        parts = _COLOUR.split(text)  # every second one is such a sequence
        return "".join(part if odd % 2 else printable(part) for odd, part in enumerate(parts))
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # os.fsdecode: a byte that is no UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

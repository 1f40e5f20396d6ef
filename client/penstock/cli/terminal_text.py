"""Text of others on a terminal: what a model or a server wrote must not move the cursor, ring, or retitle. Pure."""

from __future__ import annotations

# The control characters of ASCII and Latin-1, but for the tab and the end of line.
_CONTROLS = dict.fromkeys([*(code for code in range(0x20) if chr(code) not in "\t\n"), *range(0x7F, 0xA0)])


def printable(text: str) -> str:
    """`text` without control characters."""
    return text.translate(_CONTROLS)

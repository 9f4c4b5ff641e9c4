"""What all lines of the terminal have in common: colours, a longest text, and wrapping."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTCOME_COLOURS = {"PASS": "green", "FAIL": "red", "VACUOUS": "yellow", "ERROR": "red", "NA": "cyan", "NOT_RUN": "cyan"}
Line = tuple[str, str]
"""A line of text and the name of its colour, empty for none."""


def shorten(text: str, longest: int = 400) -> str:
    """The text, cut to at most ``longest`` characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def wrapped(text: str, width: int, indent: int = 0, colour: str = "", further: int = 4) -> Iterator[Line]:
    """The text on lines of at most ``width``, where its words allow it; lines after the first have a larger indent."""
    start, rest = " " * indent, " " * (indent + further)
    lines = textwrap.wrap(
        text, width, initial_indent=start, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    yield from ((line, colour) for line in lines)

"""Documents as they are read, whatever they come from: text as in Unix, of characters that UTF-8 can encode."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_unineuron.corpora.corpus import Mark
from pytest_unineuron.errors import CharacterError, CorpusError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_unineuron.corpora.corpus import Document

BYTE_ORDER_MARK = "\ufeff"
_HALF = re.compile(r"[\ud800-\udfff]")


def unix_text(text: str) -> str:
    """Return a text with line ends as in Unix and without byte order marks, which joined files have in the middle."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace(BYTE_ORDER_MARK, "")


def checked(where: str, document: Document, *, field: str = "text") -> Document:
    """Return a document with its text as in Unix, and its marks at the same words. ``field`` has the text.

    Raises CorpusError for a field that holds no text, or half of a surrogate pair, which is no character.
    """
    for name, value in vars(document).items():
        if name != "marks":
            _check(f"{where}, field {(field if name == 'text' else name)!r}", value)
    text = unix_text(document.text)
    if text == document.text:
        return document
    marks = (
        Mark(len(unix_text(document.text[: mark.start])), len(unix_text(document.text[: mark.stop])), mark.label)
        for mark in document.marks
    )
    return replace(document, text=text, marks=tuple(marks))


def _check(place: str, value: Any) -> None:
    if not isinstance(value, str):
        raise CorpusError(f"{place}: no text (found: {_kind(value)}); write text there")
    if half := _HALF.search(value):
        escaped = half[0].encode("unicode_escape").decode("ascii")
        raise CharacterError(f"{place}: {escaped} is half of a surrogate pair; write the character itself")


def text_in(where: str, row: Mapping[str, Any], field: str) -> str:
    """Return the text in a field of a row. Raises CorpusError if there is none."""
    if isinstance(text := row.get(field), str):
        return text
    found, then = ", ".join(map(str, row)).encode("utf-8", "backslashreplace").decode("utf-8"), "name the field"
    if field in row:
        found, then = _kind(text), "write text there, or name another field"
    raise CorpusError(f"{where}: no text in field {field!r} (found: {found}); {then} with --unineuron-text-field")


def fact_in(where: str, row: Mapping[str, Any], field: str) -> str:
    """Return the single value in a field of a row as text, empty without one. Raises CorpusError for several values."""
    value = row.get(field)
    if isinstance(value, Iterable) and not isinstance(value, str):
        _check(f"{where}, field {field!r}", value)
    return str(value or "")


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__

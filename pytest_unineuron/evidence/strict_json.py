"""Strict JSON, in and out: what could not be told apart from something else is an error."""

from __future__ import annotations

import hashlib
import math
from json import dumps, loads  # by name: a trial that replaces json's functions does not replace ours
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import ReportError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DIGEST_KEY = "digest"
"""The key under which a file carries the digest of everything else in it."""


def to_json(data: Mapping[str, Any]) -> str:
    """Strict JSON: a NaN that slipped through is an error here, not a null for somebody else to trip over."""
    return dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_json_line(data: Mapping[str, Any]) -> str:
    """The same on one line."""
    return dumps(data, ensure_ascii=False, allow_nan=False) + "\n"


def json_digest(data: object) -> str:
    """SHA-256 of plain data, whatever the order of its keys."""
    text = dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def add_digest(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same data with its digest, by which a file that was changed or damaged is told."""
    return {**data, DIGEST_KEY: json_digest(data)}


def parse_json(text: str) -> Any:
    """The data of a JSON text. Raises ValueError for what JSON does not have: NaN, infinity, a key given twice."""
    try:
        return loads(text, parse_constant=_refused, parse_float=_finite, parse_int=_whole, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path, what: str, hint: str) -> dict[str, Any]:
    """The object in a sealed file, without its seal; what is wrong with the file is said in one sentence.

    ``what`` is what it should be, such as "report"; ``hint`` is what to type for a good one. Raises ReportError.
    """
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError(f"{what} {path}: there is no such file; {hint}") from None
    except OSError as error:
        raise ReportError(f"{what} {path}: cannot be read ({error.strerror}); {hint}") from None
    except UnicodeDecodeError:
        raise ReportError(f"{what} {path}: is not text in UTF-8; {hint}") from None
    except ValueError as error:
        raise ReportError(f"{what} {path}: is damaged or incomplete ({error}); {hint}") from None
    if not isinstance(data, dict):
        raise ReportError(f"{what} {path}: is a JSON {type(data).__name__} and not a {what}; {hint}")
    return data


def verify_digest(data: dict[str, Any], where: str, hint: str) -> dict[str, Any]:
    """The data without its seal. Raises ReportError if the seal is missing, or is that of other content."""
    content = {key: value for key, value in data.items() if key != DIGEST_KEY}
    if DIGEST_KEY not in data:
        raise ReportError(f"{where}: has no {DIGEST_KEY}, so it cannot be told whether it is whole; {hint}")
    if json_digest(content) != data[DIGEST_KEY]:
        raise ReportError(f"{where}: was changed or damaged after it was written (other {DIGEST_KEY}); {hint}")
    return content


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is beyond any number that can be computed with")
    return value


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, _ in pairs if [k for k, _ in pairs].count(key) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found

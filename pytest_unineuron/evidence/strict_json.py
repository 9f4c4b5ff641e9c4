"""Strict JSON: NaN, infinity and repeated keys are errors, and files carry a digest of their content."""

from __future__ import annotations

import hashlib
import math
from json import dumps, loads  # imported by name: a trial that replaces attributes of json does not affect reports
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import ReportError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DIGEST_KEY = "digest"
"""The key under which a file carries the digest of everything else in it."""


def to_json(data: Mapping[str, Any]) -> str:
    """The data as indented JSON. Raises ValueError for a NaN or an infinity."""
    return dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_json_line(data: Mapping[str, Any]) -> str:
    """The data as one line of JSON. Raises ValueError for a NaN or an infinity."""
    return dumps(data, ensure_ascii=False, allow_nan=False) + "\n"


def json_digest(data: object) -> str:
    """The SHA-256 of plain JSON data, whatever the order of its keys."""
    text = dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def add_digest(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data with its digest, by which ``verify_digest`` notices a change."""
    return {**data, DIGEST_KEY: json_digest(data)}


def verify_digest(data: dict[str, Any], where: str, hint: str) -> dict[str, Any]:
    """The data without its digest. Raises ReportError if the digest is missing or belongs to other content."""
    content = {key: value for key, value in data.items() if key != DIGEST_KEY}
    if DIGEST_KEY not in data:
        raise ReportError(f"{where}: has no {DIGEST_KEY}, so it may be incomplete; {hint}")
    if json_digest(content) != data[DIGEST_KEY]:
        raise ReportError(f"{where}: was changed or damaged after it was written (other {DIGEST_KEY}); {hint}")
    return content


def parse_json(text: str) -> Any:
    """The data of a JSON text. Raises ValueError for NaN, infinity and a key that is given twice."""
    try:
        return loads(
            text,
            parse_constant=_reject_constant,
            parse_float=_finite_float,
            parse_int=_finite_int,
            object_pairs_hook=_unique_keys,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path, kind: str, hint: str) -> dict[str, Any]:
    """The JSON object in a file.

    ``kind`` is the word for the file in errors, such as "report"; ``hint`` says what to type to get a good one. Raises
    ReportError for a file that is missing, cannot be read, is not JSON, or holds something other than an object.
    """
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError(f"{kind} {path}: there is no such file; {hint}") from None
    except OSError as error:
        raise ReportError(f"{kind} {path}: cannot be read ({error.strerror}); {hint}") from None
    except UnicodeDecodeError:
        raise ReportError(f"{kind} {path}: is not text in UTF-8; {hint}") from None
    except ValueError as error:
        raise ReportError(f"{kind} {path}: is damaged or incomplete ({error}); {hint}") from None
    if not isinstance(data, dict):
        raise ReportError(f"{kind} {path}: is a JSON {type(data).__name__} and not a {kind}; {hint}")
    return data


def _reject_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large for a float")
    return value


def _finite_int(text: str) -> int:
    _finite_float(text)
    return int(text)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {repeated!r} is given twice")
    return found

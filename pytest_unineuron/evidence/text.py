"""Text from outside, made fit for JSON, for the channel between worker and controller, and for logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def escape_surrogates(text: object) -> str:
    r"""The text with lone surrogates, which UTF-8 cannot encode, written as escapes.

    >>> escape_surrogates("share of \ud800")
    'share of \\ud800'
    """
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def ranges(numbers: Sequence[int]) -> str:
    """The ascending numbers, with the ends of those that follow one another.

    >>> ranges([3, 7, 8, 9, 12])
    '3 7-9 12'
    """
    starts = [n for i, n in enumerate(numbers) if not i or numbers[i - 1] != n - 1]
    ends = [n for i, n in enumerate(numbers) if i + 1 == len(numbers) or numbers[i + 1] != n + 1]
    return " ".join(str(start) if start == end else f"{start}-{end}" for start, end in zip(starts, ends, strict=True))

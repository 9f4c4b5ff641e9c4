"""Text from outside, made fit for JSON, for a worker's channel and for a log."""

from __future__ import annotations


def escape_surrogates(text: object) -> str:
    r"""The text with what cannot be encoded spelled out; everything else as it is.

    >>> clean("share of \ud800")
    'share of \\ud800'
    """
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")

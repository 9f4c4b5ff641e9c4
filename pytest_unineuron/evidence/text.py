"""Text from outside, made fit for JSON, for the channel between worker and controller, and for logs."""

from __future__ import annotations


def escape_surrogates(text: object) -> str:
    r"""The text with lone surrogates, which UTF-8 cannot encode, written as escapes.

    >>> escape_surrogates("share of \ud800")
    'share of \\ud800'
    """
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")

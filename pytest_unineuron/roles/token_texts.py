"""The text of single tokens, as it stands in a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

ANCHOR = "a"


def token_texts(tokenizer: Any, ids: Iterable[int]) -> dict[int, str]:
    """Return the text of each token id behind a letter, where a tokenizer leaves it the space it begins with.

    Alone, or at the start of a text, a token of SentencePiece loses it, and one of WordPiece shows its ``##``.
    """
    anchor = tokenizer(ANCHOR, add_special_tokens=False)["input_ids"]
    before = str(tokenizer.decode(anchor))
    texts = {}
    for token in ids:
        behind = str(tokenizer.decode([*anchor, token]))
        texts[token] = behind[len(before) :] if behind.startswith(before) else str(tokenizer.decode([token]))
    return texts

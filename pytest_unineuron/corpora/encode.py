"""The tokens of a document by a model's tokenizer, and the labels of its marked words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_unineuron.errors import CorpusError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pytest_unineuron.corpora.corpus import Document, Mark

UNLABELLED = -1
"""The label of a token that does not end a marked word."""
PROBES = ("a", "the", "0", ".", "é")
"""Texts of which every tokenizer knows at least one; a tokenizer without an unknown token drops the others."""
RARE = "\U00012000\U00010000"
"""Signs of cuneiform and of Linear B, which hardly any tokenizer knows: it reads them as unknown text, or as bytes."""


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids of the tokens that the tokenizer puts before and after a text.

    If it puts nothing before a text but has a BOS token, that token comes before.
    """
    for text in PROBES:
        plain = _ids(tokenizer, text)
        if plain:
            break
    full = list(tokenizer(text)["input_ids"])
    starts = [i for i in range(len(full) - len(plain) + 1) if full[i : i + len(plain)] == plain]
    start = starts[0] if starts else 0
    before, after = tuple(full[:start]), tuple(full[start + len(plain) :]) if starts else ()
    if not before and tokenizer.bos_token_id is not None and plain[:1] != [tokenizer.bos_token_id]:
        before = (tokenizer.bos_token_id,)
    return before, after


def control_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the ids of the special tokens that stand for no text, such as those for the start and the end.

    They include those that are only marked as special, such as the start of a header in Llama 3. The token for unknown
    text is none of them, unless the tokenizer uses it for something else as well, or has no unknown text.
    """
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "cls_token_id", "sep_token_id", "mask_token_id")
    named = {getattr(tokenizer, name, None) for name in names}
    marked = {token for token, added in getattr(tokenizer, "added_tokens_decoder", {}).items() if added.special}
    unknown = {getattr(tokenizer, "unk_token_id", None)} & set(_ids(tokenizer, RARE)) - named
    return frozenset(marked.union(tokenizer.all_special_ids) - unknown)


def encode(tokenizer: PreTrainedTokenizerBase, document: Document) -> tuple[list[int], list[int]]:
    """Return the token ids of a document, and for each token the label of the mark that ends in it.

    Raises CorpusError if the document has marks and the tokenizer cannot tell which tokens they are.
    """
    encoded = tokenizer(
        document.text, add_special_tokens=False, return_offsets_mapping=bool(document.marks), verbose=False
    )
    ids = list(encoded["input_ids"])
    labels = [UNLABELLED] * len(ids)
    for mark in document.marks:
        if "offset_mapping" in encoded:
            spans = enumerate(encoded["offset_mapping"])
            touched = [i for i, (start, stop) in spans if start < mark.stop and stop > mark.start]
        else:
            touched = list(_tokens_of(tokenizer, document, mark, ids))
        if touched:
            labels[touched[-1]] = mark.label
    return ids, labels


def _tokens_of(tokenizer: PreTrainedTokenizerBase, document: Document, mark: Mark, ids: list[int]) -> range:
    """The tokens of a mark by a tokenizer without offsets: those of the text up to its end, less those before it."""
    before, upto = _ids(tokenizer, document.text[: mark.start]), _ids(tokenizer, document.text[: mark.stop])
    if ids[: len(upto)] != upto:
        word = document.text[mark.start : mark.stop]
        raise CorpusError(
            f"the tokenizer does not say which of its tokens are {word!r}; save it as tokenizer.json, "
            "or leave out the trials that ask for single words"
        )
    return range(len(before), len(upto))


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

"""Documents cut for a model: blocks of its context length, batched by length, with a mask of which tokens are text."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import CorpusError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from pytest_unineuron.corpora.corpus import Corpus, Document, Mark

GROUPS = 16
"""Documents are dealt into this many groups; leaving one out at a time gives every interval."""
UNLABELLED = -1
PROBES = ("a", "the", "0", ".", "é")
"""Texts of which any tokenizer knows one."""


@dataclass(frozen=True)
class Block:
    """One input row: special tokens around a stretch of one document. ``text_mask`` is False for the former."""

    ids: tuple[int, ...]
    text_mask: tuple[bool, ...]
    labels: tuple[int, ...]
    document: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one document group, padded. All tensors are [row, position]; ``text_mask`` marks text tokens.

    ``offset`` is how many tokens of text come in the batches before. ``comparison_mask`` marks the tokens at which
    models are compared.
    """

    group: int
    ids: Tensor
    attention_mask: Tensor
    text_mask: Tensor
    labels: Tensor
    offset: int
    comparison_mask: Tensor

    @property
    def tokens(self) -> int:
        """How many tokens count."""
        return int(self.text_mask.sum())

    @property
    def n_compared(self) -> int:
        """How many tokens are looked at."""
        return int(self.comparison_mask.sum())


@dataclass(frozen=True, eq=False)
class Blocks:
    """A corpus as one model reads it."""

    corpus: Corpus
    blocks: tuple[Block, ...]
    groups: int
    padding: int

    @property
    def tokens(self) -> int:
        """How many tokens count, in all."""
        return sum(sum(block.text_mask) for block in self.blocks)

    @property
    def documents(self) -> int:
        """How many documents were read."""
        return len({block.document for block in self.blocks})

    def batches(self, tokens: int, *, compare: int | None = None) -> list[Batch]:
        """Every block once, longest first within its group, about ``tokens`` positions at a time.

        Of the tokens that count, ``compare`` are looked at, evenly spread: neighbouring tokens repeat one another,
        so leaving most of them out loses little, and what is not looked at costs nothing in a product.
        """
        share = (self.tokens, self.tokens) if compare is None else (min(compare, self.tokens), self.tokens)
        by_group: dict[int, list[Block]] = defaultdict(list)
        for block in self.blocks:
            by_group[block.document % self.groups].append(block)
        made, offset = [], 0
        for group, blocks in sorted(by_group.items()):
            blocks.sort(key=lambda block: -len(block.ids))
            while blocks:
                rows = max(1, tokens // len(blocks[0].ids))
                made.append(self._padded(group, blocks[:rows], offset, share))
                offset += made[-1].tokens
                blocks = blocks[rows:]
        return made

    def _padded(self, group: int, blocks: list[Block], offset: int, share: tuple[int, int]) -> Batch:
        longest = len(blocks[0].ids)
        ids = torch.full((len(blocks), longest), self.padding)
        attention_mask = torch.zeros((len(blocks), longest), dtype=torch.int64)
        text_mask = torch.zeros((len(blocks), longest), dtype=torch.bool)
        labels = torch.full((len(blocks), longest), UNLABELLED)
        for row, block in enumerate(blocks):
            length = len(block.ids)
            ids[row, :length] = torch.tensor(block.ids)
            attention_mask[row, :length] = 1
            text_mask[row, :length] = torch.tensor(block.text_mask)
            labels[row, :length] = torch.tensor(block.labels)
        number = text_mask.flatten().cumsum(0).view_as(text_mask) + offset  # of this token, from 1
        wanted, of = share
        comparison_mask = text_mask & (number * wanted // of > (number - 1) * wanted // of)
        return Batch(group, ids, attention_mask, text_mask, labels, offset, comparison_mask)


def to_blocks(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, *, context: int, budget: int) -> Blocks:
    """A corpus as a model with this tokenizer reads it, up to ``budget`` tokens.

    A document longer than the context goes on in the next block; documents are never glued together. Every
    block has the model's own special tokens around it, which do not count. Raises CorpusError if fewer than
    two tokens are left, or the context has no room for text.
    """
    before, after = special_tokens(tokenizer)
    room = context - len(before) - len(after)
    if room < 2:
        raise CorpusError(f"a context of {context} tokens leaves no room for text; raise --unineuron-context")
    blocks: list[Block] = []
    left, read = budget, 0
    for document in corpus.documents:
        ids, labels = _encode(tokenizer, document)
        ids, labels = ids[:left], labels[:left]
        if not ids:
            continue
        for start in range(0, len(ids), room):
            part = slice(start, start + room)
            size = len(ids[part])
            blocks.append(
                Block(
                    ids=(*before, *ids[part], *after),
                    text_mask=(False,) * len(before) + (True,) * size + (False,) * len(after),
                    labels=(UNLABELLED,) * len(before) + tuple(labels[part]) + (UNLABELLED,) * len(after),
                    document=read,
                )
            )
        left, read = left - len(ids), read + 1
        if left <= 0:
            break
    if read < 2 or budget - left < 2:
        raise CorpusError(
            f"corpus {corpus.name}: {budget - left} tokens in {read} documents are too few to say anything; "
            "give more text, or raise --unineuron-tokens"
        )
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    return Blocks(corpus, tuple(blocks), min(GROUPS, read), int(padding))


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the tokenizer puts before and after a text; a lone BOS where it puts nothing but has one."""
    for text in PROBES:  # a tokenizer without an unknown token drops what it does not know
        plain = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        if plain:
            break
    full = list(tokenizer(text)["input_ids"])
    starts = [i for i in range(len(full) - len(plain) + 1) if full[i : i + len(plain)] == plain]
    start = starts[0] if starts else 0
    before, after = tuple(full[:start]), tuple(full[start + len(plain) :]) if starts else ()
    if not before and tokenizer.bos_token_id is not None and plain[:1] != [tokenizer.bos_token_id]:
        before = (tokenizer.bos_token_id,)
    return before, after


def _encode(tokenizer: PreTrainedTokenizerBase, document: Document) -> tuple[list[int], list[int]]:
    """Token ids of a document, and for each token the label of the mark that ends in it."""
    encoded = tokenizer(
        document.text, add_special_tokens=False, return_offsets_mapping=bool(document.marks), verbose=False
    )
    ids = list(encoded["input_ids"])
    labels = [UNLABELLED] * len(ids)
    for mark in document.marks:
        if "offset_mapping" in encoded:
            offsets = encoded["offset_mapping"]
            touching = [i for i, (start, stop) in enumerate(offsets) if start < mark.stop and stop > mark.start]
        else:
            touching = list(_spelled(tokenizer, document, mark, ids))
        if touching:
            labels[touching[-1]] = mark.label
    return ids, labels


def _spelled(tokenizer: PreTrainedTokenizerBase, document: Document, mark: Mark, ids: list[int]) -> range:
    """The tokens of a mark by a tokenizer that does not say where its tokens lie: the text is cut off at its ends."""
    starts = len(tokenizer(document.text[: mark.start], add_special_tokens=False, verbose=False)["input_ids"])
    upto = list(tokenizer(document.text[: mark.stop], add_special_tokens=False, verbose=False)["input_ids"])
    if ids[: len(upto)] != upto:
        word = document.text[mark.start : mark.stop]
        raise CorpusError(
            f"the tokenizer does not say which of its tokens are {word!r}; save it as tokenizer.json, "
            "or leave out the trials that ask for single words"
        )
    return range(starts, len(upto))

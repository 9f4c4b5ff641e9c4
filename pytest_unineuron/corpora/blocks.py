"""A corpus as a model reads it: blocks of at most its context length, batched by length, with masks of text tokens."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, chain, islice
from typing import TYPE_CHECKING

import torch
from torch.nn.utils.rnn import pad_sequence

from pytest_unineuron.corpora.draw import draw_documents
from pytest_unineuron.corpora.encode import UNLABELLED, special_tokens
from pytest_unineuron.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from pytest_unineuron.corpora.corpus import Corpus

GROUPS = 16
"""The most groups that documents are dealt into. Intervals come from leaving out one group at a time."""


@dataclass(frozen=True)
class Block:
    """One input row: a part of one document between special tokens, which ``text_mask`` marks False.

    ``ids``, ``text_mask`` and ``labels`` are [position]; ``document`` is the number of the document, which copies of it
    have too, and ``language`` what its corpus says of it, empty if unknown.
    """

    ids: tuple[int, ...]
    text_mask: tuple[bool, ...]
    labels: tuple[int, ...]
    document: int
    language: str = ""


@dataclass(frozen=True, eq=False)
class Batch:
    """Padded blocks of one document group. All tensors are [row, position].

    ``attention_mask`` is 0 at padding. ``text_mask`` marks tokens of text, and ``comparison_mask`` those among them at
    which models are compared. ``sink_mask`` marks text tokens that statistics leave out. ``offset`` is the number of
    text tokens in the batches before. ``languages`` [row] are those of the documents.
    """

    group: int
    ids: Tensor
    attention_mask: Tensor
    text_mask: Tensor
    labels: Tensor
    offset: int
    comparison_mask: Tensor
    sink_mask: Tensor
    languages: tuple[str, ...]

    @property
    def tokens(self) -> int:
        """The number of text tokens."""
        return int(self.text_mask.sum())

    @property
    def n_compared(self) -> int:
        """The number of tokens at which models are compared."""
        return int(self.comparison_mask.sum())


@dataclass(frozen=True, eq=False)
class Blocks:
    """A corpus as one model reads it. ``padding`` is the token id that fills up shorter rows.

    The group of a document is the remainder of its number by ``groups``. ``sinks`` are the tokens that statistics leave
    out, by their numbers among all text tokens in the order of batches, which does not depend on the size of batches.
    """

    corpus: Corpus
    blocks: tuple[Block, ...]
    groups: int
    padding: int
    sinks: tuple[int, ...] = ()

    @cached_property
    def tokens(self) -> int:
        """The number of text tokens."""
        return sum(sum(block.text_mask) for block in self.blocks)

    @property
    def documents(self) -> int:
        """The number of distinct documents."""
        return len({block.document for block in self.blocks})

    def documents_of(self, group: int) -> int:
        """The number of distinct documents in one group."""
        return len({block.document for block in self.blocks if block.document % self.groups == group})

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what is read: ids, masks, labels, groups, the languages if there are several, and the sinks."""
        total = hashlib.sha256()
        for block in self.blocks:
            for numbers in (block.ids, block.labels, (block.document % self.groups, self.padding)):
                total.update(array("q", numbers).tobytes())
            total.update(bytes(block.text_mask))
        if len({block.language for block in self.blocks}) > 1:
            total.update("\0".join(block.language for block in self.blocks).encode("utf-8"))
        total.update(array("q", self.sinks).tobytes())
        return total.hexdigest()

    @cached_property
    def _by_group(self) -> dict[int, list[Block]]:
        """The blocks of each document group, in the order of batches."""
        by_group: dict[int, list[Block]] = defaultdict(list)
        for block in self.blocks:
            by_group[block.document % self.groups].append(block)
        return {group: sorted(blocks, key=lambda block: -len(block.ids)) for group, blocks in sorted(by_group.items())}

    @cached_property
    def _ends(self) -> list[int]:
        """The number of text tokens up to the end of each block, in the order of batches."""
        return list(accumulate(sum(block.text_mask) for blocks in self._by_group.values() for block in blocks))

    def place_of(self, token: int) -> tuple[Block, int]:
        """The block and the position in it of a text token, by its number in the order of batches, from 0."""
        number = bisect_right(self._ends, token)
        block = next(islice(chain.from_iterable(self._by_group.values()), number, None))
        before = self._ends[number] - sum(block.text_mask)
        positions = [position for position, is_text in enumerate(block.text_mask) if is_text]
        return block, positions[token - before]

    def batches(self, tokens: int, *, compare: int | None = None) -> list[Batch]:
        """Return batches of about ``tokens`` positions with every block once, longest first within each group.

        Models are compared at ``compare`` text tokens, evenly spread, or at all of them. Neighbouring tokens repeat one
        another, so leaving most of them out loses little, and saves their share of every product.
        """
        compare = self.tokens if compare is None else min(compare, self.tokens)
        batches, offset = [], 0
        for group, blocks in self._by_group.items():
            while blocks:
                rows = max(1, tokens // len(blocks[0].ids))
                batches.append(self._batch(group, blocks[:rows], offset, compare))
                offset += batches[-1].tokens
                blocks = blocks[rows:]
        return batches

    def _batch(self, group: int, blocks: list[Block], offset: int, compare: int) -> Batch:
        """A batch of some blocks, ``offset`` text tokens after the start."""
        text_mask = _padded([block.text_mask for block in blocks])
        number = text_mask.flatten().cumsum(0).view_as(text_mask) + offset  # of each text token, from 1
        sink_mask = text_mask & torch.isin(number - 1, torch.tensor(self.sinks, dtype=number.dtype))
        # A token is compared where its share of all comparisons passes a whole number.
        is_next = number * compare // self.tokens > (number - 1) * compare // self.tokens
        comparison_mask = text_mask & ~sink_mask & is_next
        return Batch(
            group,
            ids=_padded([block.ids for block in blocks], self.padding),
            attention_mask=_padded([[1] * len(block.ids) for block in blocks]),
            text_mask=text_mask,
            labels=_padded([block.labels for block in blocks], UNLABELLED),
            offset=offset,
            comparison_mask=comparison_mask,
            sink_mask=sink_mask,
            languages=tuple(block.language for block in blocks),
        )


def _padded(rows: list[Sequence[int]], padding: int = 0) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=padding)


def to_blocks(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, *, context: int, budget: int) -> Blocks:
    """Tokenize a corpus, up to ``budget`` tokens, into blocks of at most ``context`` tokens.

    Of a corpus with more tokens, documents are drawn in a fixed random order; none of them gives more than a share of
    the budget, unless the others are too short to fill it. The corpus of the blocks is what was read. A document longer
    than the context goes on in the next block; no block has text of two documents. Every block has the model's own
    special tokens around its text. Special tokens that are written inside a document are read, and are no tokens of
    text either. Raises CorpusError if there are fewer than two tokens or documents, or the context has no room for
    text.
    """
    around = special_tokens(tokenizer)
    room = context - sum(map(len, around))
    if room < 2:
        raise CorpusError(f"a context of {context} tokens leaves no room for text; raise --unineuron-context")
    read = draw_documents(corpus, tokenizer, budget, shares=GROUPS)
    if not read:
        raise CorpusError(
            f"corpus {corpus.name}: its {len(corpus.documents)} documents have special tokens alone, which are not "
            "read; give text"
        )
    if len(read) < 2:
        tokens = sum(each.tokens for each in read)
        raise CorpusError(
            f"corpus {corpus.name}: {tokens} tokens in {len(read)} documents are too few to say anything; "
            "give more text, or raise --unineuron-tokens"
        )
    documents = tuple(each.document for each in read)
    if documents != corpus.documents:
        corpus = replace(corpus, documents=documents)
    groups = min(GROUPS, len(corpus.distinct))
    blocks: list[Block] = []
    for each, number in zip(read, _deal(corpus.copy_of, groups), strict=True):
        parts = [slice(start, start + room) for start in range(0, len(each.ids), room)]
        blocks += [
            _block(each.ids[part], each.is_text[part], each.labels[part], around, number, each.document.language)
            for part in parts
            if any(each.is_text[part])
        ]
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    return Blocks(corpus, tuple(blocks), groups, int(padding))


def _deal(copy_of: Sequence[int], groups: int) -> list[int]:
    """A number for each document, the same for copies, whose remainder by ``groups`` is the document's group.

    The largest clusters of copies are dealt first, each into the group with the fewest documents, so that documents of
    a corpus without copies are numbered in turn.
    """
    sizes = Counter(copy_of)
    held, number = [0] * groups, {}
    dealt = [0] * groups
    for first, size in sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0])):
        group = held.index(min(held))
        number[first] = dealt[group] * groups + group
        dealt[group] += 1
        held[group] += size
    return [number[first] for first in copy_of]


def _block(
    ids: list[int],
    text: list[bool],
    labels: list[int],
    around: tuple[tuple[int, ...], ...],
    document: int,
    language: str,
) -> Block:
    """A block with special tokens around its text."""
    before, after = around
    return Block(
        ids=(*before, *ids, *after),
        text_mask=(False,) * len(before) + tuple(text) + (False,) * len(after),
        labels=(UNLABELLED,) * len(before) + tuple(labels) + (UNLABELLED,) * len(after),
        document=document,
        language=language,
    )

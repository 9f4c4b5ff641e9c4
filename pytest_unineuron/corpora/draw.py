"""The documents of a corpus that are read within a budget of tokens, drawn over the whole corpus."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from pytest_unineuron.corpora.encode import control_ids, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from pytest_unineuron.corpora.corpus import Corpus, Document

LONGEST_TEXT, LONGEST_TOKEN = 2**20, 32
"""Of a longer document, no more characters are tokenized than this, or than this many for each token of the budget."""


@dataclass(frozen=True)
class Encoded:
    """A document as a tokenizer reads it; ``ids``, ``labels`` and ``is_text`` are [token]."""

    document: Document
    ids: list[int]
    labels: list[int]
    is_text: list[bool]

    @cached_property
    def tokens(self) -> int:
        """The number of text tokens."""
        return sum(self.is_text)

    def first(self, tokens: int) -> Encoded:
        """The document up to so many text tokens, and as much of its characters as of its tokens."""
        counts = enumerate(accumulate(self.is_text), start=1)
        stop = next((stop for stop, count in counts if count == tokens), len(self.ids))
        if stop == len(self.ids):
            return self
        text = self.document.text[: len(self.document.text) * stop // len(self.ids)]
        return Encoded(replace(self.document, text=text), self.ids[:stop], self.labels[:stop], self.is_text[:stop])


def draw_documents(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, budget: int, *, shares: int) -> list[Encoded]:
    """Return the documents with text that are read within a budget of tokens, in the order of the corpus.

    If not all of the corpus fits, documents are drawn in a random order that only depends on their number, the last one
    as far as the budget goes. So that no document takes it all, none gives more than one of ``shares`` parts of the
    budget, unless the others are too short to fill it.
    """
    control, count = control_ids(tokenizer), len(corpus.documents)
    share, usable = max(1, budget // min(shares, count)), 0
    drawn: dict[int, Encoded] = {}
    for number in random.Random(0).sample(range(count), count):
        if usable >= budget:
            break
        document = corpus.documents[number]
        if len(document.text) > (longest := max(LONGEST_TEXT, budget * LONGEST_TOKEN)):
            document = replace(document, text=document.text[:longest])
        ids, labels = encode(tokenizer, document)
        encoded = Encoded(document, ids, labels, [token not in control for token in ids])
        if encoded.tokens:
            drawn[number] = encoded
            usable += min(encoded.tokens, share)
    most, left = max(share, _level([each.tokens for each in drawn.values()], budget)), budget
    for number, encoded in drawn.items():
        drawn[number] = encoded.first(min(most, left))
        left -= drawn[number].tokens
    return [drawn[number] for number in sorted(drawn)]


def _level(tokens: Sequence[int], budget: int) -> int:
    """The most tokens that every document may give, so that all of them stay within a budget; all if they do anyway."""
    left = budget
    for place, count in enumerate(sorted(tokens)):
        even = left // (len(tokens) - place)
        if count > even:
            return even
        left -= count
    return budget

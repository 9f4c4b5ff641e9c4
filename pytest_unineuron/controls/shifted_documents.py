"""N4: the model reads other documents than the seeds it is compared with, so that they share no text."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pytest_unineuron.corpora.blocks import Block, Blocks

REACH = 17
"""How far apart, in the order of lengths, a block and the one that it gets its text from may be."""


def shifted_documents(blocks: Blocks, tokenizer: PreTrainedTokenizerBase, seed: int) -> Blocks:
    """Return blocks of the same lengths in the same places, each with the text of another document.

    Blocks are ordered by length, but for random exchanges of near ones, other ones for every ``seed``. Each gets as
    much text as it has room for from the next block of another document; the order is cyclic. Special tokens stay in
    place.
    """
    del tokenizer
    generator = random.Random(seed)
    by_length = sorted(range(len(blocks.blocks)), key=lambda i: (len(blocks.blocks[i].ids), i))
    places = {index: place + generator.uniform(0, REACH) for place, index in enumerate(by_length)}
    order = sorted(by_length, key=places.__getitem__)
    made = list(blocks.blocks)
    for place, index in enumerate(order):
        own = blocks.blocks[index]
        later = (order[(place + step) % len(order)] for step in range(1, len(order)))
        other = next((b for b in (blocks.blocks[i] for i in later) if b.document != own.document), own)
        made[index] = _with_text_of(own, other)
    return replace(blocks, blocks=tuple(made))


def _with_text_of(own: Block, other: Block) -> Block:
    """The block ``own`` with the text of ``other``, which is repeated where it is shorter."""
    text = cycle([token for token, is_text in zip(other.ids, other.text_mask, strict=True) if is_text])
    ids = [next(text) if is_text else token for token, is_text in zip(own.ids, own.text_mask, strict=True)]
    return replace(own, ids=tuple(ids))

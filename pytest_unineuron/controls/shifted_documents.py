"""N4: the model reads other documents than the seeds it is compared with. What they still share is not the text."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pytest_unineuron.corpora.blocks import Block, Blocks


def shifted_documents(blocks: Blocks, tokenizer: PreTrainedTokenizerBase, seed: int) -> Blocks:
    """The same blocks in the same places and of the same lengths, each with the text of another document.

    Blocks are ordered by length, and every one takes its text from the ``1 + seed % 17``-th longer one of another
    document, as much as it has room for; the longest, for which there is none, from the others in turn.
    Special tokens stay where they are.
    """
    del tokenizer
    order = sorted(range(len(blocks.blocks)), key=lambda i: (len(blocks.blocks[i].ids), i))
    made = list(blocks.blocks)
    for place, index in enumerate(order):
        own = blocks.blocks[index]
        later = (order[(place + step) % len(order)] for step in range(1 + seed % 17, len(order) + 17))
        other = next((b for b in (blocks.blocks[i] for i in later) if b.document != own.document), own)
        made[index] = _with_text_of(own, other)
    return replace(blocks, blocks=tuple(made))


def _with_text_of(own: Block, other: Block) -> Block:
    text = cycle([token for token, counts in zip(other.ids, other.text_mask, strict=True) if counts])
    ids = [next(text) if counts else token for token, counts in zip(own.ids, own.text_mask, strict=True)]
    return replace(own, ids=tuple(ids))

"""N4: the two models read different documents. What they still share is not about the text.

The text of the second model is that of another document of nearly the same length, so that positions and
lengths stay what they were.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pytest_unineuron.corpora.blocks import Blocks


def shifted_documents(blocks: Blocks, tokenizer: PreTrainedTokenizerBase, seed: int) -> Blocks:
    """The same blocks in the same places, each with the text of another document.

    Blocks are ordered by length and every one takes the text of the ``1 + seed % 5``-th after it that is of
    another document. Groups stay those of the first model.
    """
    del tokenizer
    order = sorted(range(len(blocks.blocks)), key=lambda i: (-len(blocks.blocks[i].ids), i))
    made = list(blocks.blocks)
    for place, index in enumerate(order):
        own = blocks.blocks[index]
        later = (order[(place + step) % len(order)] for step in range(1 + seed % 5, len(order) + 5))
        other = next(blocks.blocks[i] for i in later if blocks.blocks[i].document != own.document)
        made[index] = replace(other, document=own.document)
    return replace(blocks, blocks=tuple(made))

"""A content control: the same model and lengths, with random tokens for a text."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pytest_unineuron.corpora.blocks import Blocks


def random_tokens(blocks: Blocks, tokenizer: PreTrainedTokenizerBase, seed: int) -> Blocks:
    """Return the same blocks with all tokens of text drawn uniformly from the vocabulary without special tokens.

    An effect that this control also shows is not about the text.
    """
    generator = torch.Generator().manual_seed(seed)
    special = set(tokenizer.all_special_ids)
    ordinary = torch.tensor([token for token in range(len(tokenizer)) if token not in special])
    made = []
    for block in blocks.blocks:
        drawn = ordinary[torch.randint(len(ordinary), (len(block.ids),), generator=generator)].tolist()
        pairs = zip(block.ids, drawn, block.text_mask, strict=True)
        made.append(replace(block, ids=tuple(new if is_text else old for old, new, is_text in pairs)))
    return replace(blocks, blocks=tuple(made))

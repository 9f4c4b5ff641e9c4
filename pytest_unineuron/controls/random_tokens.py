"""A content control: the same model, the same lengths, and text that says nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pytest_unineuron.corpora.blocks import Blocks


def random_tokens(blocks: Blocks, tokenizer: PreTrainedTokenizerBase, seed: int) -> Blocks:
    """The same blocks with every token of text drawn uniformly from the vocabulary without special tokens.

    What does not change is not about the text.
    """
    generator = torch.Generator().manual_seed(seed)
    specials = set(tokenizer.all_special_ids)
    plain = torch.tensor([token for token in range(len(tokenizer)) if token not in specials])
    made = []
    for block in blocks.blocks:
        drawn = plain[torch.randint(len(plain), (len(block.ids),), generator=generator)].tolist()
        ids = tuple(new if counts else old for old, new, counts in zip(block.ids, drawn, block.text_mask, strict=True))
        made.append(replace(block, ids=ids))
    return replace(blocks, blocks=tuple(made))

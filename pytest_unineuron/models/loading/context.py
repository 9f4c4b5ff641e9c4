"""The context of a model: the longest input that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_unineuron.models.loading.configuration import text_configs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

UNLIMITED = 10_000_000
"""The context of a model without a longest input: a state space model, or one with relative positions only."""
LIMIT_NAMES = (
    *("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_seq_length", "max_sequence_length"),
    *("seq_length", "max_target_positions", "max_encoder_position_embeddings", "max_decoder_position_embeddings"),
)
"""The names that configurations give to the longest input, in tokens."""


def longest_input(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The longest input that a model takes, in tokens; UNLIMITED if neither it nor its tokenizer has a limit."""
    limits = [getattr(config, name, None) for config in text_configs(model.config) for name in LIMIT_NAMES]
    limits.append(getattr(tokenizer, "model_max_length", None))
    known = [limit for limit in limits if type(limit) is int and 1 < limit < UNLIMITED]
    return min([*known, *_table_limits(model)], default=UNLIMITED)


def _table_limits(model: PreTrainedModel) -> Iterator[int]:
    """The number of positions in tables that begin after the position of padding, such as RoBERTa's."""
    ahead = 1 if hasattr(model.config, "ngram") else 0  # ProphetNet also reads the position after the last token
    for name, module in model.named_modules():
        first, table = getattr(module, "padding_idx", None), getattr(module, "weight", None)
        if "position" in name.rpartition(".")[2] and first is not None and isinstance(table, torch.Tensor):
            yield len(table) - first - 1 - ahead

"""The tokenizer of a model: the one in its folder, whose token ids the model can read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
import transformers

from pytest_unineuron.errors import ModelError, first_line
from pytest_unineuron.models.loading.configuration import own_code_error, text_config
from pytest_unineuron.models.loading.gguf import gguf_arguments

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pytest_unineuron.models.loading.source import Source

_SPECIAL = re.compile(r"<.*>|\[.*\]|")
"""The form of special tokens. A tokenizer without others was made by the library without the files that it needs."""


def load_tokenizer(source: Source, folder: Path, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer in a model's folder. Raises ModelError if there is none, or if it belongs to another model."""
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, **gguf_arguments(source)
        )
    except Exception as error:  # tokenizers fail in as many ways as there are tokenizers
        if "custom code" in str(error):
            raise own_code_error(source, "its tokenizer") from None
        hint = "" if (folder / "tokenizer.json").is_file() else _missing_file_hint(folder)
        reason = f"its tokenizer cannot be loaded: {first_line(error)}{hint}"
        raise ModelError(f"model {source.spec}: {reason}") from error
    tokens, rows = token_id_count(tokenizer), _embedding_rows(model)
    if sum(not _SPECIAL.fullmatch(token) for token in tokenizer.get_vocab()) < 3:
        raise ModelError(
            f"model {source.spec}: its tokenizer has {tokens} tokens and all of them are special, so its vocabulary "
            "is missing; save the model's own tokenizer into its folder with tokenizer.save_pretrained"
        )
    if tokens > rows:
        raise ModelError(
            f"model {source.spec}: its tokenizer has {tokens} tokens, its embedding {rows}; "
            "save the model's own tokenizer into its folder with tokenizer.save_pretrained"
        )
    return tokenizer


def _missing_file_hint(folder: Path) -> str:
    """The end of a message that says what to do about a tokenizer that is not stored as tokenizer.json."""
    stored = sorted(path.name for pattern in ("*.model", "*.spm") for path in folder.glob(pattern))
    if not stored:
        return "; save the model's own tokenizer into its folder with tokenizer.save_pretrained"
    return f"; {stored[0]} needs sentencepiece, tiktoken and protobuf: install these, or save it as tokenizer.json"


def token_id_count(tokenizer: PreTrainedTokenizerBase) -> int:
    """The largest token id plus one; smaller ids may belong to no token."""
    known = tokenizer.get_vocab().values() if hasattr(tokenizer, "get_vocab") else ()
    return max(len(tokenizer), 1 + max(known, default=-1))


def _embedding_rows(model: PreTrainedModel) -> int:
    """The number of token ids that a model can read: the rows of its embedding, or the size in its configuration."""
    try:
        table = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):  # a model whose embedding transformers does not know
        table = None
    weight = getattr(table, "weight", table)
    if isinstance(weight, torch.Tensor) and weight.dim() == 2:
        return len(weight)
    return int(getattr(text_config(model.config), "vocab_size", 0) or 0)

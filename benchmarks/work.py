"""What all variants are given to do: random models of one shape, and random token ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pytest_unineuron.corpora.blocks import Block, Blocks
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.universality.units import ComparedModel

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch

LABELS, LABELLED = 10, 16
"""One token in 16 carries one of ten labels, about as many as number words do in text that has them."""


@dataclass(frozen=True)
class Shape:
    """Of the models, and of a batch. ``neurons`` are those of one layer; 0: four times the width."""

    layers: int = 6
    width: int = 384
    neurons: int = 0
    vocabulary: int = 8192
    context: int = 256
    rows: int = 8
    device: str = "cpu"

    @property
    def units(self) -> int:
        """Neurons of a layer."""
        return self.neurons or 4 * self.width

    @property
    def all_units(self) -> int:
        """Neurons of a model."""
        return self.layers * self.units

    @property
    def tokens(self) -> int:
        """Tokens of a batch."""
        return self.rows * self.context

    def __str__(self) -> str:
        return (
            f"GPT-2 of random weights, {self.layers} layers × {self.width}, {self.units} neurons per layer, vocabulary "
            f"{self.vocabulary}; batches of {self.rows} × {self.context} tokens"
        )


class Tokens:
    """A stand-in for a tokenizer where ids are drawn, not read."""

    all_special_ids = (0,)

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size


def model(shape: Shape, seed: int, dtype: torch.dtype = torch.float32) -> Any:
    """A GPT-2 of random weights."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        "gpt2",
        n_layer=shape.layers,
        n_embd=shape.width,
        n_head=max(1, shape.width // 64),
        n_inner=shape.units,
        vocab_size=shape.vocabulary,
        n_positions=shape.context,
        bos_token_id=0,
        eos_token_id=0,
    )
    return AutoModelForCausalLM.from_config(config).eval().to(device=shape.device, dtype=dtype)


def member(of: Any, shape: Shape) -> ComparedModel:
    """A model with what is found in it."""
    return ComparedModel(of, dissect(LoadedModel(of, Tokens(shape.vocabulary), "", None)))  # type: ignore[arg-type]


def ids(shape: Shape, batches: int) -> Tensor:
    """Random token ids, [batch, row, position]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(shape.vocabulary, (batches, shape.rows, shape.context), generator=generator)


def text(drawn: Tensor) -> Blocks:
    """The ids [batch, row, position] as a corpus that was cut: each batch is a document, every token counts."""
    labels = torch.where(torch.arange(drawn[0].numel()).view_as(drawn[0]) % LABELLED == 0, drawn % LABELS, -1)
    every = (True,) * drawn.shape[2]
    blocks = tuple(
        Block(tuple(row), every, tuple(marks), document)
        for document, (rows, of) in enumerate(zip(drawn.tolist(), labels.tolist(), strict=True))
        for row, marks in zip(rows, of, strict=True)
    )
    return Blocks(None, blocks, groups=1, padding=0)  # type: ignore[arg-type]


def halves(batches: list[Batch]) -> list[Batch]:
    """The same batches, every other one for choosing partners and the rest for reading."""
    return [replace(batch, group=number % 2) for number, batch in enumerate(batches)]


def forward(of: Any, batch: Batch) -> None:
    """One pass without the unembedding, and nothing else."""
    of.base_model(input_ids=batch.ids.to(of.device), attention_mask=batch.attention_mask.to(of.device), use_cache=False)

"""The work of all benchmarks: random models of one shape, and batches of random token ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pytest_unineuron.corpora.blocks import Block, Blocks
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.universality.units import ComparedModel

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch

N_LABELS, LABEL_EVERY = 10, 16
"""One token in 16 has one of ten labels, about as many as there are number words in a text."""


@dataclass(frozen=True)
class Workload:
    """Sizes of a model and of a batch. ``neurons`` is the number per layer, 0 for four times the width."""

    layers: int = 6
    width: int = 384
    neurons: int = 0
    vocabulary: int = 8192
    context: int = 256
    rows: int = 8
    device: str = "cpu"

    @property
    def layer_neurons(self) -> int:
        """Neurons of one layer."""
        return self.neurons or 4 * self.width

    @property
    def model_neurons(self) -> int:
        """Neurons of all layers."""
        return self.layers * self.layer_neurons

    @property
    def batch_tokens(self) -> int:
        """Tokens of one batch."""
        return self.rows * self.context

    def __str__(self) -> str:
        return (
            f"GPT-2 with random weights, {self.layers} layers × {self.width}, {self.layer_neurons} neurons per layer, "
            f"vocabulary {self.vocabulary}; batches of {self.rows} × {self.context} tokens"
        )


class FakeTokenizer:
    """A stand-in for a tokenizer where token ids are random: it only knows its number of tokens."""

    all_special_ids = (0,)

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size


def random_model(workload: Workload, seed: int, dtype: torch.dtype = torch.float32) -> Any:
    """A GPT-2 with random weights."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        "gpt2",
        n_layer=workload.layers,
        n_embd=workload.width,
        n_head=max(1, workload.width // 64),
        n_inner=workload.layer_neurons,
        vocab_size=workload.vocabulary,
        n_positions=workload.context,
        bos_token_id=0,
        eos_token_id=0,
    )
    return AutoModelForCausalLM.from_config(config).eval().to(device=workload.device, dtype=dtype)


def compared_model(model: Any, workload: Workload) -> ComparedModel:
    """A model with the places of its neurons."""
    loaded = LoadedModel(model, FakeTokenizer(workload.vocabulary), "", None)  # type: ignore[arg-type]
    return ComparedModel(WeightView(loaded, dissect(loaded)))


def random_models(workload: Workload, count: int) -> list[ComparedModel]:
    """Models that differ in their seed."""
    return [compared_model(random_model(workload, seed), workload) for seed in range(count)]


def random_ids(workload: Workload, batches: int) -> Tensor:
    """Random token ids, [batch, row, position]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(workload.vocabulary, (batches, workload.rows, workload.context), generator=generator)


def as_corpus(ids: Tensor) -> Blocks:
    """Token ids [batch, row, position] as the blocks of a corpus: one document per batch, all tokens text."""
    labels = torch.where(torch.arange(ids[0].numel()).view_as(ids[0]) % LABEL_EVERY == 0, ids % N_LABELS, -1)
    text_mask = (True,) * ids.shape[2]
    blocks = tuple(
        Block(tuple(row), text_mask, tuple(row_labels), document)
        for document, (rows, labels_of_rows) in enumerate(zip(ids.tolist(), labels.tolist(), strict=True))
        for row, row_labels in zip(rows, labels_of_rows, strict=True)
    )
    return Blocks(None, blocks, groups=1, padding=0)  # type: ignore[arg-type]


def with_held_out_split(batches: list[Batch]) -> list[Batch]:
    """The batches in two document groups: every second one belongs to the held-out split."""
    return [replace(batch, group=number % 2) for number, batch in enumerate(batches)]


def forward(model: Any, batch: Batch) -> None:
    """Run a model without its head."""
    device = model.device
    model.base_model(input_ids=batch.ids.to(device), attention_mask=batch.attention_mask.to(device), use_cache=False)

"""Recipes of nano models: all choices but the text, enough to train a model again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Recipe:
    """All choices for one model; recipes that differ only in name and ``seed`` are seeds of one family.

    The seed determines the initialisation and the order of the text, as in the paper's models. ``neurons`` is the
    number per layer, ``tokens`` the number of positions to train on, ``warmup`` a number of optimiser steps.
    """

    name: str
    architecture: str
    seed: int
    layers: int = 4
    width: int = 128
    heads: int = 8
    neurons: int = 512
    vocabulary: int = 512
    context: int = 128
    tokens: int = 60_000_000
    batch: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    warmup: int = 200

    @property
    def family(self) -> str:
        """The name without its letter: ``gpt2`` for ``gpt2-a`` and ``gpt2-b``."""
        return self.name.rpartition("-")[0]

    @property
    def steps(self) -> int:
        """The number of optimiser steps, each on ``batch`` rows of ``context`` positions."""
        return max(1, self.tokens // (self.batch * self.context))

    @property
    def early_step(self) -> int:
        """The step after which a card states loss and digest, to compare a rerun with before it has finished."""
        return min(1000, self.steps)

    def as_dict(self) -> dict[str, Any]:
        """The recipe as JSON data."""
        return asdict(self)

    def with_choices(self, choices: Mapping[str, Any]) -> Recipe:
        """A recipe with those of ``choices`` that it has a field for and that are not None."""
        known = {field.name for field in fields(self)}
        return replace(self, **{k: v for k, v in choices.items() if k in known and v is not None})


ARCHITECTURES: dict[str, Any] = {
    # GPT-2: sequential blocks, learned positions, tied unembedding. The tanh form of GELU under its fused name.
    "gpt2": lambda r: {
        "n_layer": r.layers,
        "n_embd": r.width,
        "n_head": r.heads,
        "n_inner": r.neurons,
        "n_positions": r.context,
        "activation_function": "gelu_pytorch_tanh",
        "attn_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
    },
    # GPT-NeoX as Pythia uses it: parallel blocks, rotary positions on a quarter of each head, untied unembedding.
    "gpt_neox": lambda r: {
        "num_hidden_layers": r.layers,
        "hidden_size": r.width,
        "num_attention_heads": r.heads,
        "intermediate_size": r.neurons,
        "max_position_embeddings": r.context,
        "use_parallel_residual": True,
        "rotary_pct": 0.25,
        "tie_word_embeddings": False,
    },
    # Llama: gated neurons, RMS norm, rotary positions on whole heads, no biases, untied unembedding.
    "llama": lambda r: {
        "num_hidden_layers": r.layers,
        "hidden_size": r.width,
        "num_attention_heads": r.heads,
        "num_key_value_heads": r.heads,
        "intermediate_size": r.neurons,
        "max_position_embeddings": r.context,
        "tie_word_embeddings": False,
    },
}


FAMILIES = (("gpt2", "gpt2", 100), ("neox", "gpt_neox", 200), ("llama", "llama", 300))
"""Name, architecture and the number before the first seed of each family."""


def model_config(recipe: Recipe) -> PretrainedConfig:
    """The configuration of transformers for a recipe."""
    from transformers import AutoConfig

    choices = ARCHITECTURES[recipe.architecture](recipe)
    return AutoConfig.for_model(
        recipe.architecture, vocab_size=recipe.vocabulary, bos_token_id=0, eos_token_id=0, **choices
    )


def untrained_model(recipe: Recipe) -> PreTrainedModel:
    """The model before training, initialised with the seed of the recipe."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(recipe.seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(model_config(recipe))
    return model


def default_recipes(seeds: int = 3) -> list[Recipe]:
    """Recipes of ``seeds`` models of each architecture, in the order of training; by default the models that ship."""
    return [
        Recipe(name=f"{family}-{letter}", architecture=architecture, seed=offset + index)
        for index, letter in enumerate(ascii_lowercase[:seeds], start=1)
        for family, architecture, offset in FAMILIES
    ]

"""Makes null models: small, random or broken, each from a seed and saved with the tokenizer of the nano models."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from pytest_unineuron import zoo
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.statistics.basis import haar_rotation
from tools.zoo.recipe import Recipe
from tools.zoo.text import TrainingRows, encode_text
from tools.zoo.train import make_optimiser, mean_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel

    from benchmarks.calibration.models import Specimen

LAYERS, WIDTH, HEADS, NEURONS, CONTEXT, VOCABULARY = 4, 128, 8, 512, 128, 512
"""Sizes of a model: as many heads as the trials ask for, and the width and the tokenizer of the nano models."""
OWN_NAMES: dict[str, dict[str, Any]] = {
    "gptj": {"rotary_dim": WIDTH // HEADS},
    "gpt_neo": {"attention_types": [[["global", "local"], LAYERS // 2]]},
    "opt": {"ffn_dim": NEURONS, "word_embed_proj_dim": WIDTH},
    "qwen2": {"num_key_value_heads": HEADS // 2},
    "mistral": {"num_key_value_heads": HEADS // 2},
    "gemma2": {"num_key_value_heads": HEADS // 2, "head_dim": WIDTH // HEADS},
}
"""Choices of an architecture beside those that all have."""
SCALES = {"small-weights": 0.3, "large-weights": 3.0}
SINK = 100.0
"""Norm of the constant at the first tokens, in norms of an embedding: what SmolLM2 has."""
STEPS, BATCH = 300, 4


def save(specimen: Specimen, folder: Path) -> Path:
    """Make a null model and save it with its tokenizer. The same specimen always gives the same weights."""
    make(specimen.kind, specimen.architecture, specimen.seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def make(kind: str, architecture: str, seed: int) -> PreTrainedModel:
    """A null model of a kind; no two share random numbers, so that intervals over them are right."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(f"{kind} {architecture} {seed}".encode()))
        return MAKERS[kind](architecture, seed).eval()


def untrained(architecture: str, seed: int) -> PreTrainedModel:
    """A model as its class initialises it, from torch's own random state."""
    config = AutoConfig.for_model(
        architecture,
        num_hidden_layers=LAYERS,
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        intermediate_size=NEURONS,
        max_position_embeddings=CONTEXT,
        vocab_size=VOCABULARY,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,
        **OWN_NAMES.get(architecture, {}),
    )
    auto = AutoModelForMaskedLM if architecture == "bert" else AutoModelForCausalLM
    model: PreTrainedModel = auto.from_config(config)
    return model


def scaled(factor: float) -> Callable[[str, int], PreTrainedModel]:
    """A function that makes an untrained model and multiplies all its matrices by ``factor``."""

    def made(architecture: str, seed: int) -> PreTrainedModel:
        model = untrained(architecture, seed)
        for matrix in _matrices(model):
            matrix.mul_(factor)
        return model

    return made


def heavy_tailed(architecture: str, seed: int) -> PreTrainedModel:
    """An untrained model whose matrices are drawn from Student's t, and keep their standard deviations.

    The degrees of freedom are 2, 3 or 4: by the architecture and the seed, as ``degrees`` says.
    """
    model, random = untrained(architecture, seed), np.random.default_rng(torch.initial_seed())
    for matrix in _matrices(model):
        drawn = random.standard_t(degrees(architecture, seed), size=tuple(matrix.shape))
        matrix.copy_(torch.from_numpy(drawn * (float(matrix.std()) / drawn.std())))
    return model


def degrees(architecture: str, seed: int) -> int:
    """The degrees of freedom of heavy-tailed weights."""
    return 2 + (len(architecture) + seed) % 3


def trained_embedding(architecture: str, seed: int) -> PreTrainedModel:
    """An untrained model with the token embedding of a trained nano model."""
    model = untrained(architecture, seed)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(nano("gpt2", seed).get_input_embeddings().weight)
    return model


def shuffled_mlp(architecture: str, seed: int) -> PreTrainedModel:
    """A trained nano model in whose MLPs the values of every weight and bias are shuffled."""
    model = nano(architecture, seed)
    for name, parameter in model.named_parameters():
        if ".mlp." in name:
            parameter.data = parameter.flatten()[torch.randperm(parameter.numel())].view_as(parameter).detach()
    return model


def rotated_mlp(architecture: str, seed: int) -> PreTrainedModel:
    """A trained nano model whose hidden units are random rotations of the trained ones, before the nonlinearity."""
    model = nano(architecture, seed)
    layers = {name.rpartition(".mlp.")[0] for name, _ in model.named_parameters() if ".mlp." in name}
    for number, name in enumerate(sorted(layers)):
        rotation = haar_rotation(NEURONS, torch.initial_seed() + number)
        for parameter in model.get_submodule(f"{name}.mlp").parameters():
            if NEURONS in parameter.shape:  # the axis of the hidden units, of which there are more than dimensions
                axis = parameter.shape.index(NEURONS)
                parameter.data = torch.tensordot(parameter.data.movedim(axis, -1), rotation, 1).movedim(-1, axis)
    return model


def sink(architecture: str, seed: int) -> PreTrainedModel:
    """An untrained model in which a large constant is added at the first two positions, BOS and the first token."""
    model = untrained(architecture, seed)
    positions = next(p for name, p in model.named_parameters() if "wpe" in name or "position" in name)
    size = model.get_input_embeddings().weight.norm(dim=1).median()
    constant = torch.nn.functional.normalize(torch.randn(WIDTH), dim=0) * SINK * size
    first = len(positions) - CONTEXT  # OPT has two rows before the first position
    with torch.no_grad():
        positions[first : first + 2] += constant
    return model


def trained_on_shuffled_text(architecture: str, seed: int) -> PreTrainedModel:
    """A model trained for a few hundred steps on text whose tokens are in random order."""
    model = untrained(architecture, seed).train()
    recipe = Recipe("", architecture, seed, context=CONTEXT, batch=BATCH)
    ids = encode_text(tokenizer(), "\n\n".join(document.text for document in find_corpus("prose").documents))
    rows = TrainingRows(np.random.default_rng(torch.initial_seed()).permutation(ids), CONTEXT, BATCH, seed)
    optimiser = make_optimiser(model, recipe)
    for step in range(STEPS):
        mean_loss(model, torch.from_numpy(rows.batch_at(step)), torch.autocast("cpu", enabled=False)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    return model


MAKERS: dict[str, Callable[[str, int], PreTrainedModel]] = {
    "untrained": untrained,
    **{name: scaled(factor) for name, factor in SCALES.items()},
    "heavy-tailed-weights": heavy_tailed,
    "trained-embedding": trained_embedding,
    "shuffled-mlp": shuffled_mlp,
    "rotated-mlp": rotated_mlp,
    "sink": sink,
    "shuffled-text": trained_on_shuffled_text,
}


def nano(architecture: str, seed: int) -> PreTrainedModel:
    """A trained nano model of the architecture, in float32; seeds take turns with the models of its family."""
    family = architecture.removeprefix("gpt_")
    found = [folder for name, folder in sorted(zoo.folders().items()) if name.startswith(f"{family}-")]
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(found[seed % len(found)], dtype=torch.float32)
    return model


def tokenizer() -> Any:
    """The tokenizer of the nano models."""
    return AutoTokenizer.from_pretrained(zoo.folders()["gpt2-a"])


def _matrices(model: PreTrainedModel) -> Iterator[Tensor]:
    """The values of every weight with two axes, embeddings included; norms and biases stay as they are."""
    return (parameter.data for parameter in model.parameters() if parameter.dim() >= 2)

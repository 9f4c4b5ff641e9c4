"""Tiny random models of eight architectures, with a tokenizer like the zoo's, in memory or saved to a folder."""

from functools import cache

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

from pytest_unineuron import corpora
from pytest_unineuron.corpora.text import from_path
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.loading.load import LoadedModel
from tools.architectures.examine import SizedTokenizer
from tools.architectures.shrink import Entry, tiny_model
from tools.zoo.text import train_tokenizer

COMMON = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
SHAPES = {
    "gpt2": {"n_layer": 2, "n_embd": 32, "n_head": 4, "n_inner": 48, "n_positions": 64},
    "gpt_neox": COMMON,
    "llama": {**COMMON, "num_key_value_heads": 2},
    "granite": {**COMMON, "num_key_value_heads": 2, "pad_token_id": 0},
    "cohere": {**COMMON, "num_key_value_heads": 2, "pad_token_id": 0},
    "phi3": {**COMMON, "num_key_value_heads": 2, "pad_token_id": 0},
    "gemma2": {**COMMON, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0},
    "olmo": {**COMMON, "num_key_value_heads": 4, "pad_token_id": 0},
    "openai-gpt": {"n_layer": 2, "n_embd": 32, "n_head": 4, "n_positions": 64},
    "bert": COMMON,
    "mamba": {"num_hidden_layers": 2, "hidden_size": 32, "state_size": 4},
}
VOCABULARY = 300


@cache
def tokenizer():
    """A byte-level tokenizer trained on the bundled prose."""
    documents = from_path("prose", corpora.BUNDLED / "prose.jsonl").documents
    made = train_tokenizer("\n".join(document.text for document in documents[:100]), VOCABULARY)
    made.model_max_length = 64
    return made


def configuration(architecture, **choices):
    """The configuration of a shape, with changes."""
    specials = {"bos_token_id": 0, "eos_token_id": 0}
    return AutoConfig.for_model(
        architecture, **{"vocab_size": VOCABULARY, **specials, **SHAPES[architecture], **choices}
    )


def build(architecture, seed=0, scale=5.0, **choices):
    """A random model. ``scale`` makes its weights large enough for the activation functions to bend."""
    torch.manual_seed(seed)
    auto = AutoModelForMaskedLM if architecture == "bert" else AutoModelForCausalLM
    model = auto.from_config(configuration(architecture, **choices)).eval()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Biases and norms are 0 and 1 by default, where folding could be wrong without showing.
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
            else:
                # Embeddings of standard deviation one, so that the epsilon inside a norm does not matter.
                parameter.mul_(50.0 if "emb" in name or "wte" in name or "wpe" in name else scale)
    return model


def in_memory(model, words=None):
    """A model that was never saved, with a tokenizer, as if it had been loaded."""
    return LoadedModel(model, words or tokenizer(), "", None)


def shrunk(mapping, model_type):
    """A tiny model of any architecture of transformers, with a stand-in for its tokenizer."""
    return in_memory(tiny_model(Entry(mapping, model_type)), SizedTokenizer())


def prepared(mapping, model_type):
    """A tiny model of any architecture that reads the tokens of the tokenizer, and its anatomy."""
    model = tiny_model(Entry(mapping, model_type))
    model.resize_token_embeddings(VOCABULARY)
    loaded = in_memory(model)
    return loaded, dissect(loaded)


def save(architecture, folder, **choices):
    """Save a model and its tokenizer to ``folder``."""
    build(architecture, **choices).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder

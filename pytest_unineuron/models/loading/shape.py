"""The shape of a model, read from its config.json without torch: enough to estimate the cost of measuring it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_unineuron.models.loading.source import Source

CONFIG_NAMES = {
    "layers": ("n_layer", "num_hidden_layers", "n_layers", "num_layers"),
    "width": ("n_embd", "hidden_size", "d_model", "dim"),
    "neurons": ("n_inner", "intermediate_size", "ffn_dim", "d_ff", "ffn_hidden_size", "hidden_dim"),
    "heads": ("n_head", "num_attention_heads", "n_heads", "num_heads"),
    "key_values": ("num_key_value_heads",),
    "head_width": ("head_dim", "d_kv"),
    "vocabulary": ("vocab_size",),
    "context": ("n_positions", "max_position_embeddings", "n_ctx", "max_seq_len", "seq_length"),
}
"""The names that configurations give to these numbers; the first that is present counts."""
BYTES_PER_WEIGHT = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
"""The size of one loaded weight by its precision."""
EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
UNGATED = (
    *("gpt2", "gpt_neo", "gpt_neox", "gptj", "opt", "bloom", "falcon", "codegen", "bert", "roberta", "distilbert"),
    *("electra", "mpt", "phi", "gpt_bigcode", "starcoder2", "xlm-roberta", "nemotron", "persimmon", "biogpt"),
)
"""The model types whose neurons have two weight vectors; all others are assumed to have three."""
TIED = ("gpt2", "opt", "bloom", "gpt_neo", "bert", "gemma", "gemma2", "gemma3_text")
"""The model types whose unembedding is the embedding, unless the configuration says otherwise."""


@dataclass(frozen=True)
class ModelShape:
    """The numbers that the cost of a comparison depends on. ``neurons`` are those of one layer."""

    layers: int
    width: int
    neurons: int
    heads: int
    vocabulary: int
    context: int
    key_values: int = 0
    head_width: int = 0
    gated: bool = False
    tied: bool = True

    @property
    def head_values(self) -> int:
        """The number of values that the output projection of a layer reads from its heads."""
        return self.heads * (self.head_width or self.width // self.heads)

    @property
    def in_layers(self) -> int:
        """The weights of all layers: those of attention, and two vectors for each neuron, or three for a gated one."""
        keys = (self.key_values or self.heads) * (self.head_width or self.width // self.heads)
        attention = self.width * (2 * self.head_values + 2 * keys)
        return self.layers * (attention + (2 + self.gated) * self.width * self.neurons)

    @property
    def weights(self) -> int:
        """All weights, without biases and norms."""
        return self.in_layers + self.vocabulary * self.width * (1 if self.tied else 2)

    def forward(self, context: int) -> int:
        """Operations for one token, without the head: two for each weight, and attention over the whole context."""
        return 2 * self.in_layers + 4 * self.layers * context * self.head_values


def model_shape(source: Source, *, fetch: bool = True) -> ModelShape:
    """The shape of a model, from its config.json, which is downloaded if ``fetch`` allows it, or its GGUF file.

    Raises ModelError if there is no config.json, or if it lacks a number.
    """
    try:
        return shape_from_config(_written_config(source, fetch=fetch))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"model {source.spec}: its config.json does not say how large it is ({error}); give its shape by hand: "
            "--layers, --width, --neurons, --heads, --vocabulary, --context"
        ) from None


def _written_config(source: Source, *, fetch: bool) -> dict[str, Any]:
    if source.gguf and source.folder is not None:
        from pytest_unineuron.models.loading.gguf import gguf_configuration

        written: dict[str, Any] = gguf_configuration(source, source.folder).to_dict()
    else:
        written = json.loads(_config(source, fetch=fetch).read_text(encoding="utf-8"))
    return written


def shape_from_config(written: Mapping[str, Any]) -> ModelShape:
    """The shape in a configuration. Raises ValueError for a number that it lacks, and for a model with experts."""
    inner = {**written, **(written.get("text_config") or {})}
    found = {
        name: next((inner[key] for key in keys if type(inner.get(key)) is int), 0)
        for name, keys in CONFIG_NAMES.items()
    }
    if missing := [name for name in ("layers", "width", "vocabulary") if not found[name]]:
        raise ValueError(f"no {' and no '.join(missing)}")
    if any(inner.get(name) for name in EXPERT_COUNTS):
        raise ValueError("it has experts, whose neurons are not compared between seeds")
    kind = str(inner.get("model_type", ""))
    found["neurons"] = found["neurons"] or 4 * found["width"]
    found["heads"] = found["heads"] or 1
    tied = inner.get("tie_word_embeddings")
    return ModelShape(**found, gated=kind not in UNGATED, tied=kind in TIED if tied is None else bool(tied))


def _config(source: Source, *, fetch: bool) -> Path:
    if source.folder is not None:
        return source.folder / "config.json"
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(source.hub, "config.json", revision=source.revision, local_files_only=not fetch))
    except Exception as error:  # networks and servers fail in their own ways
        raise ModelError(
            f"model {source.spec}: its config.json is not here and cannot be fetched ({type(error).__name__}); give a "
            "folder that holds it, or its shape by hand: --layers, --width, --neurons, --heads, --vocabulary, --context"
        ) from None

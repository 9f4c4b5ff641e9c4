"""The sizes of tiny models, and the attributes of configurations that hold each size.

There are two tables of patterns, of which the first match counts. A width is always replaced; a count is only
lowered, so that a model with one group of experts stays one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

VOCABULARY = 203
"""Size of the vocabulary of every tiny model."""
POSITIONS = 64
"""Positions of every tiny model."""


@dataclass(frozen=True)
class TinyShape:
    """The sizes of a tiny model. ``head_dim`` None stands for the width divided by the number of heads.

    By default the widths of MLPs differ from one another and from all other widths, so that they identify MLPs.
    """

    width: int = 32
    heads: int = 4
    head_dim: int | None = 8
    kv_heads: int = 2
    neurons: int = 96
    expert_neurons: int = 40
    shared_neurons: int = 48
    experts: int = 4
    experts_per_token: int = 2
    layers: int = 2

    @property
    def per_head(self) -> int:
        """The width of one attention head."""
        return self.head_dim if self.head_dim is not None else self.width // self.heads

    @property
    def heads_width(self) -> int:
        """The width of all attention heads together."""
        return self.heads * self.per_head

    @property
    def ratio(self) -> int:
        """Neurons per dimension of the residual stream, for configurations that hold this ratio."""
        return self.neurons // self.width

    @property
    def mlp_widths(self) -> frozenset[int]:
        """The widths that only MLPs have: those above, their half or double in some models, or 4 × width in others."""
        requested = {self.neurons, self.expert_neurons, self.shared_neurons}
        return frozenset(requested | {self.neurons // 2, 2 * self.neurons, 2 * self.expert_neurons, 4 * self.width})

    @property
    def identifies_mlps(self) -> bool:
        """Whether no width of an MLP is also another width."""
        return not self.mlp_widths & {self.width, self.heads_width, 2 * self.width}


DEFAULT = TinyShape()
"""All widths are different."""
EQUAL = TinyShape(neurons=32, expert_neurons=32, shared_neurons=32)
"""MLPs are as wide as the residual stream and as all attention heads, so widths do not identify them."""
WIDE_HEADS = TinyShape(head_dim=16)
"""All heads together are twice as wide as the residual stream, where a configuration allows it."""

WIDTHS: tuple[tuple[str, str | int], ...] = (
    (r"(.+_)?vocab_size(_per_layer_input)?|audio_vocab_size|unit_hifi_gan_vocab_size", VOCABULARY),
    (r"type_vocab_size|task_type_vocab_size|cls_vocab_size", 2),
    (r"max_position_embeddings|n_positions|n_ctx|max_seq_len|max_(en|de)coder_position_embeddings", POSITIONS),
    (r"max_(source|target)_positions|max_2d_position_embeddings|t2u_max_position_embeddings", POSITIONS),
    (r"context_length|rel_extent", POSITIONS),
    # The neurons of MLPs.
    (r"(moe_)?shared_(experts?_)?intermediate_size", "shared_neurons"),
    (r"moe_intermediate_size|expert_ffn_hidden_size|moe_ffn_hidden_size", "expert_neurons"),
    (r"(.+_)?intermediate_size(_mlp)?|(.+_)?ffn_dim|ffn_hidden_size|feed_forward_size", "neurons"),
    (r"d_ff|d_inner|dff|dim_ff|n_inner|mlp_dim", "neurons"),
    (r"expansion_ratio|intermediate_multiple_size|.+_widening_factor|feedforward_mult", "ratio"),
    # Attention.
    (r"(swa_|global_|attention_)?head_dim|attention_head_size|d_head|d_kv|dim_head|v_head_dim", "per_head"),
    (r"linear_(key_|value_)?head_dim|kv_channels", "per_head"),
    (r"mamba_(d_head|head_?dim)", 16),
    (r"mamba_d_ssm", 64),
    (r"qk_nope_head_dim", 12),
    (r"qk_rope_head_dim|rotary_dim", 4),
    (r"qk_head_dim", 16),
    (r"index_head_dim|indexer_head_dim", 10),
    (r"kv_lora_rank", 20),
    (r"q_lora_rank", 22),
    (r"o_lora_rank", 9),
    (r".*_rank|d_rel|hc_lowrank", 6),
    # Other widths.
    (r"hidden_size_per_layer_input|router_hidden_size|lang_embed_dim|spkr_embed_dim", 14),
    (r"(true_hidden|intra_bottleneck|embedding|input_embedding)_size", 24),
    (r"output_embedding_size", 28),
    (r"(mamba_d_state|(ssm_)?state_size)", 20),
    (r"(encoder_|cross_attention_|audio_|out_|attention_)?hidden_size(_global)?", "width"),
    (r"d_model|n_embd|emb_dim|dim|embedding_dim|hidden_dim|embed_dim|d_latents", "width"),
    (r"lru_width|word_embed_proj_dim|prediction_head_size|pooler_hidden_size|classifier_proj_size", "width"),
    (r"(projector|adapter)_(input|in|output|out)_(dim|size)|(vision_)?output_dim", "width"),
    (r"output_proj_dims|unit_embed_dim", "width"),
    (r"(nemo_conv|output)_channels|(ext_pw|depthwise_separable)_out_channel|downsample_hidden_size", "width"),
    # Windows of attention, shorter than the input, so that they matter.
    (r"(.*_)?sliding_window(_size)?|attention_window(_size)?|local_attention|keep_window_size", 8),
    (r"local_attention_window_len|mem_len", 8),
)
"""Pattern of an attribute's whole name, and its size: a number, or an attribute of TinyShape."""

LAYERS = r"(.+_)?(layers|n_layers?)|n_layers?|depth|num_layers_per_stack"
"""Numbers of layers."""
KEY_VALUE_HEADS = r"num_(.+_)?(key_value|kv)_heads|kv_n_heads|(.+_)?num_key_value_heads|linear_num_key_heads"
"""Numbers of heads with keys and values of their own."""
COUNTS: tuple[tuple[str, str | int], ...] = (
    (r"topk_group|first_k_dense_replace|num_dense_layers|num_sparse_(en|de)coder_layers", 1),
    (LAYERS, "layers"),
    (KEY_VALUE_HEADS, "kv_heads"),
    (r"num_self_attends_per_block|num_blocks", "layers"),
    (r"(mamba_)?n_?groups|num_query_groups", "kv_heads"),
    (r"(.*_)?(attention_heads|num_heads|n_heads?|num_value_heads)|mamba_num_heads|n_mamba_heads", "heads"),
    (r"(num_|n_|moe_num_)?(local_|routed_)?experts|zero_expert_num", "experts"),
    (r"num_experts_per_tok(en)?|moe_(top_?k|k)|top_k_experts|topk", "experts_per_token"),
    (r"n_group|num_expert_group", 2),
    (r"index_topk|indexer_budget", 8),
)
"""Pattern of an attribute's whole name, and its maximum: a number, or an attribute of TinyShape."""


def tiny_size(shape: TinyShape, name: str, value: int) -> int:
    """The value in a tiny model of an attribute that is ``value`` by default."""
    for pattern, width in WIDTHS:
        if re.fullmatch(pattern, name):
            return resolve_size(shape, width)
    for pattern, maximum in COUNTS:
        if re.fullmatch(pattern, name):
            return min(value, resolve_size(shape, maximum))
    return value


def resolve_size(shape: TinyShape, size: str | int) -> int:
    """The number that a size in a table stands for."""
    return size if isinstance(size, int) else int(getattr(shape, size))


def is_layer_count(name: str) -> bool:
    """Whether an attribute is a number of layers."""
    return next((pattern for pattern, _ in COUNTS if re.fullmatch(pattern, name)), "") == LAYERS


def is_kv_count(name: str) -> bool:
    """Whether an attribute is a number of heads with keys and values of their own."""
    return re.fullmatch(KEY_VALUE_HEADS, name) is not None

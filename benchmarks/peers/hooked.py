"""The work by TransformerLens 3: a HookedTransformer, with hooks and with a filtered cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions.gpt2 import convert_gpt2_weights

from benchmarks.peers import lens
from benchmarks.peers.serve import serve

if TYPE_CHECKING:
    from benchmarks.peers.serve import Tasks, Work


def build(work: Work) -> tuple[str, Tasks]:
    """The models, with the weights that transformers saved, and what is done with them."""
    models = [_model(work.model(number)) for number in (0, 1)]
    return lens.tasks("HookedTransformer", models, work)


def _model(saved: Any) -> Any:
    of = saved.config
    config = HookedTransformerConfig(
        n_layers=of.n_layer,
        d_model=of.n_embd,
        n_heads=of.n_head,
        d_head=of.n_embd // of.n_head,
        n_ctx=of.n_positions,
        d_mlp=of.n_inner or 4 * of.n_embd,
        d_vocab=of.vocab_size,
        act_fn=of.activation_function,
        eps=of.layer_norm_epsilon,
        normalization_type="LN",
        device="cpu",
    )
    model = HookedTransformer(config)
    model.load_state_dict(convert_gpt2_weights(saved, config), strict=False)  # masks are buffers of its own
    return model.eval()


if __name__ == "__main__":
    serve(build)

"""The work by TransformerLens 3: a HookedTransformer, with hooks and with a filtered cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions.gpt2 import convert_gpt2_weights

from benchmarks.peers import lens
from benchmarks.peers.serve import serve

if TYPE_CHECKING:
    from benchmarks.peers.serve import PeerInputs, Tasks


def build(inputs: PeerInputs) -> tuple[str, Tasks]:
    """The name of the library and its tasks."""
    return lens.tasks("HookedTransformer", [_convert(inputs.model(number)) for number in (0, 1)], inputs)


def _convert(model: Any) -> Any:
    """A HookedTransformer with the weights of a model of transformers."""
    gpt2 = model.config
    config = HookedTransformerConfig(
        n_layers=gpt2.n_layer,
        d_model=gpt2.n_embd,
        n_heads=gpt2.n_head,
        d_head=gpt2.n_embd // gpt2.n_head,
        n_ctx=gpt2.n_positions,
        d_mlp=gpt2.n_inner or 4 * gpt2.n_embd,
        d_vocab=gpt2.vocab_size,
        act_fn=gpt2.activation_function,
        eps=gpt2.layer_norm_epsilon,
        normalization_type="LN",
        device="cpu",
    )
    converted = HookedTransformer(config)
    converted.load_state_dict(convert_gpt2_weights(model, config), strict=False)  # its buffers have no counterpart
    return converted.eval()


if __name__ == "__main__":
    serve(build)

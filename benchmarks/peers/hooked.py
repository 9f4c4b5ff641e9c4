"""The work by TransformerLens 3: a HookedTransformer, with hooks and with a filtered cache."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions.gpt2 import convert_gpt2_weights

from benchmarks.peers.serve import CORRELATION, SWEEP, Tasks, Work, serve
from benchmarks.peers.sums import Layers, correlate, random_bases

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

PRE, POST = "mlp.hook_pre", "mlp.hook_post"


def build(work: Work) -> tuple[str, Tasks]:
    """The models, with the weights that transformers saved, and what is done with them."""
    models = [_model(work.model(number)) for number in (0, 1)]
    config = models[0].cfg
    bases = random_bases(config.n_layers, config.d_mlp)
    neurons = [partial(_neurons, model) for model in models]
    return f"TransformerLens {version('transformer-lens')}, HookedTransformer", {
        (SWEEP, "hooks"): lambda: _hooks(models[0], work),
        (SWEEP, "filtered cache"): lambda: _cache(models[0], work),
        (CORRELATION, "filtered cache"): lambda: correlate(work.ids, neurons),
        (CORRELATION, "filtered cache, one random basis too"): lambda: correlate(work.ids, neurons, bases),
    }


def _model(saved: Any) -> Any:
    of = saved.config
    config = HookedTransformerConfig(
        n_layers=of.n_layer, d_model=of.n_embd, n_heads=of.n_head, d_head=of.n_embd // of.n_head, n_ctx=of.n_positions,
        d_mlp=of.n_inner or 4 * of.n_embd, d_vocab=of.vocab_size, act_fn=of.activation_function,
        eps=of.layer_norm_epsilon, normalization_type="LN", device="cpu",
    )  # fmt: skip
    model = HookedTransformer(config)
    model.load_state_dict(convert_gpt2_weights(saved, config), strict=False)  # masks are buffers of its own
    return model.eval()


def _hooks(model: Any, work: Work) -> Callable[[], list[float]]:
    layers = Layers(model.cfg.n_layers, work.largest)
    hooks: list[tuple[str, Callable[..., None]]] = []
    for index in range(model.cfg.n_layers):
        for name, neurons in ((PRE, layers.before[index]), (POST, layers.after[index])):
            hooks.append((f"blocks.{index}.{name}", lambda values, hook, neurons=neurons: neurons.take(values)))
    for batch in work.ids:
        model.run_with_hooks(batch, return_type=None, fwd_hooks=hooks)
    return layers.pick


def _cache(model: Any, work: Work) -> Callable[[], list[float]]:
    layers = Layers(model.cfg.n_layers, work.largest)
    for batch in work.ids:
        _, seen = model.run_with_cache(batch, return_type=None, names_filter=lambda name: name.endswith((PRE, POST)))
        for index in range(model.cfg.n_layers):
            layers.before[index].take(seen[f"blocks.{index}.{PRE}"])
            layers.after[index].take(seen[f"blocks.{index}.{POST}"])
    return layers.pick


def _neurons(model: Any, batch: Tensor) -> list[Tensor]:
    """The neurons of every layer on a batch."""
    _, seen = model.run_with_cache(batch, return_type=None, names_filter=lambda name: name.endswith(POST))
    return [seen[f"blocks.{index}.{POST}"] for index in range(model.cfg.n_layers)]


if __name__ == "__main__":
    serve(build)

"""The work by TransformerLens 4: a TransformerBridge around the model of transformers, without the head."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from transformer_lens.model_bridge import TransformerBridge

from benchmarks.peers.serve import CORRELATION, SWEEP, Tasks, Work, serve
from benchmarks.peers.sums import Layers, correlate, random_bases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

PRE, POST = "mlp.hook_pre", "mlp.hook_post"


def build(work: Work) -> tuple[str, Tasks]:
    """The models, and what is done with them."""
    models = [TransformerBridge.boot_transformers(str(folder), device="cpu").eval() for folder in work.folders]
    config = models[0].cfg
    bases = random_bases(config.n_layers, config.d_mlp)
    neurons = [partial(_neurons, model) for model in models]
    return f"TransformerLens {version('transformer-lens')}, TransformerBridge", {
        (SWEEP, "hooks"): lambda: _hooks(models[0], work),
        (SWEEP, "filtered cache"): lambda: _cache(models[0], work),
        (CORRELATION, "filtered cache"): lambda: correlate(work.ids, neurons),
        (CORRELATION, "filtered cache, one random basis too"): lambda: correlate(work.ids, neurons, bases),
    }


def _hooks(model: Any, work: Work) -> Callable[[], list[float]]:
    depth = model.cfg.n_layers
    layers = Layers(depth, work.largest)
    hooks: list[tuple[str, Callable[..., None]]] = []
    for index in range(depth):
        for name, neurons in ((PRE, layers.before[index]), (POST, layers.after[index])):
            hooks.append((f"blocks.{index}.{name}", lambda values, hook, neurons=neurons: neurons.take(values)))
    for batch in work.ids:
        model.run_with_hooks(batch, return_type=None, stop_at_layer=depth, fwd_hooks=hooks)
    return layers.pick


def _cache(model: Any, work: Work) -> Callable[[], list[float]]:
    layers = Layers(model.cfg.n_layers, work.largest)
    for batch in work.ids:
        seen = _seen(model, batch, (PRE, POST))
        for index in range(model.cfg.n_layers):
            layers.before[index].take(seen[f"blocks.{index}.{PRE}"])
            layers.after[index].take(seen[f"blocks.{index}.{POST}"])
    return layers.pick


def _neurons(model: Any, batch: Tensor) -> list[Tensor]:
    """The neurons of every layer on a batch."""
    seen = _seen(model, batch, (POST,))
    return [seen[f"blocks.{index}.{POST}"] for index in range(model.cfg.n_layers)]


def _seen(model: Any, batch: Tensor, names: Sequence[str]) -> Any:
    """A cache of what these hooks of every layer saw."""
    depth = model.cfg.n_layers
    wanted = [f"blocks.{index}.{name}" for index in range(depth) for name in names]
    _, seen = model.run_with_cache(batch, return_type=None, stop_at_layer=depth, names_filter=wanted)
    return seen


if __name__ == "__main__":
    serve(build)

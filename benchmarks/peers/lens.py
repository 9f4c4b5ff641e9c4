"""The work by both kinds of model of TransformerLens: with hooks, and with a filtered cache."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from benchmarks.peers.by_hand import ModelSums, correlate, random_bases
from benchmarks.peers.serve import CORRELATION, SWEEP, PeerInputs, Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

PRE, POST = "mlp.hook_pre", "mlp.hook_post"


def tasks(kind: str, models: Sequence[Any], inputs: PeerInputs, **options: Any) -> tuple[str, Tasks]:
    """The name of the library with this ``kind`` of model, and its tasks; ``options`` are passed to each run."""
    config = models[0].cfg
    bases = random_bases(config.n_layers, config.d_mlp)
    neurons = [partial(_neurons, model, options) for model in models]
    return f"TransformerLens {version('transformer-lens')}, {kind}", {
        (SWEEP, "hooks"): lambda: _sweep_with_hooks(models[0], inputs, options),
        (SWEEP, "filtered cache"): lambda: _sweep_with_cache(models[0], inputs, options),
        (CORRELATION, "filtered cache"): lambda: correlate(inputs.ids, neurons),
        (CORRELATION, "filtered cache, one random basis too"): lambda: correlate(inputs.ids, neurons, bases),
    }


def _sweep_with_hooks(model: Any, inputs: PeerInputs, options: dict[str, Any]) -> Callable[[], list[float]]:
    sums = ModelSums(model.cfg.n_layers, inputs.n_largest)
    hooks: list[tuple[str, Callable[..., None]]] = []
    for index in range(model.cfg.n_layers):
        for name, layer in ((PRE, sums.pre[index]), (POST, sums.post[index])):
            hooks.append((f"blocks.{index}.{name}", lambda values, hook, layer=layer: layer.update(values)))
    for batch in inputs.ids:
        model.run_with_hooks(batch, return_type=None, fwd_hooks=hooks, **options)
    return sums.numbers


def _sweep_with_cache(model: Any, inputs: PeerInputs, options: dict[str, Any]) -> Callable[[], list[float]]:
    sums = ModelSums(model.cfg.n_layers, inputs.n_largest)
    for batch in inputs.ids:
        cache = _cache(model, batch, (PRE, POST), options)
        for index in range(model.cfg.n_layers):
            sums.pre[index].update(cache[f"blocks.{index}.{PRE}"])
            sums.post[index].update(cache[f"blocks.{index}.{POST}"])
    return sums.numbers


def _neurons(model: Any, options: dict[str, Any], batch: Tensor) -> list[Tensor]:
    """The neurons of all layers on a batch, [row, position, unit]."""
    cache = _cache(model, batch, (POST,), options)
    return [cache[f"blocks.{index}.{POST}"] for index in range(model.cfg.n_layers)]


def _cache(model: Any, batch: Tensor, names: Sequence[str], options: dict[str, Any]) -> Any:
    """The activations at these hooks of every layer."""
    hooks = [f"blocks.{index}.{name}" for index in range(model.cfg.n_layers) for name in names]
    _, cache = model.run_with_cache(batch, return_type=None, names_filter=hooks, **options)
    return cache

"""The work by TransformerLens, whichever of its two kinds of model: with hooks, and with a filtered cache."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from benchmarks.peers.serve import CORRELATION, SWEEP, Tasks, Work
from benchmarks.peers.sums import Layers, correlate, random_bases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

PRE, POST = "mlp.hook_pre", "mlp.hook_post"


def tasks(kind: str, models: Sequence[Any], work: Work, **how: Any) -> tuple[str, Tasks]:
    """What is done with two models of a ``kind``; ``how`` is what running them is told."""
    config = models[0].cfg
    bases = random_bases(config.n_layers, config.d_mlp)
    neurons = [partial(_neurons, model, how) for model in models]
    return f"TransformerLens {version('transformer-lens')}, {kind}", {
        (SWEEP, "hooks"): lambda: _hooks(models[0], work, how),
        (SWEEP, "filtered cache"): lambda: _cache(models[0], work, how),
        (CORRELATION, "filtered cache"): lambda: correlate(work.ids, neurons),
        (CORRELATION, "filtered cache, one random basis too"): lambda: correlate(work.ids, neurons, bases),
    }


def _hooks(model: Any, work: Work, how: dict[str, Any]) -> Callable[[], list[float]]:
    layers = Layers(model.cfg.n_layers, work.largest)
    hooks: list[tuple[str, Callable[..., None]]] = []
    for index in range(model.cfg.n_layers):
        for name, neurons in ((PRE, layers.before[index]), (POST, layers.after[index])):
            hooks.append((f"blocks.{index}.{name}", lambda values, hook, neurons=neurons: neurons.take(values)))
    for batch in work.ids:
        model.run_with_hooks(batch, return_type=None, fwd_hooks=hooks, **how)
    return layers.pick


def _cache(model: Any, work: Work, how: dict[str, Any]) -> Callable[[], list[float]]:
    layers = Layers(model.cfg.n_layers, work.largest)
    for batch in work.ids:
        seen = _seen(model, batch, (PRE, POST), how)
        for index in range(model.cfg.n_layers):
            layers.before[index].take(seen[f"blocks.{index}.{PRE}"])
            layers.after[index].take(seen[f"blocks.{index}.{POST}"])
    return layers.pick


def _neurons(model: Any, how: dict[str, Any], batch: Tensor) -> list[Tensor]:
    """The neurons of every layer on a batch."""
    seen = _seen(model, batch, (POST,), how)
    return [seen[f"blocks.{index}.{POST}"] for index in range(model.cfg.n_layers)]


def _seen(model: Any, batch: Tensor, names: Sequence[str], how: dict[str, Any]) -> Any:
    """A cache of what these hooks of every layer saw."""
    wanted = [f"blocks.{index}.{name}" for index in range(model.cfg.n_layers) for name in names]
    _, seen = model.run_with_cache(batch, return_type=None, names_filter=wanted, **how)
    return seen

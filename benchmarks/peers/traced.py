"""The work by nnsight: a trace of the model without its head, which saves activations or gathers on the spot."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from nnsight import NNsight

from benchmarks.peers.serve import CORRELATION, SWEEP, Tasks, Work, serve
from benchmarks.peers.sums import Layers, correlate, random_bases

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def build(work: Work) -> tuple[str, Tasks]:
    """The models, and what is done with them."""
    models = [NNsight(work.model(number).base_model) for number in (0, 1)]
    config = work.model(0).config
    bases = random_bases(config.n_layer, config.n_inner or 4 * config.n_embd)
    neurons = [partial(_neurons, model) for model in models]
    return f"nnsight {version('nnsight')}", {
        (SWEEP, "trace and save"): lambda: _saved(models[0], work, config.n_layer),
        (SWEEP, "gathered inside the trace"): lambda: _inside(models[0], work, config.n_layer),
        (CORRELATION, "trace and save"): lambda: correlate(work.ids, neurons),
        (CORRELATION, "trace and save, one random basis too"): lambda: correlate(work.ids, neurons, bases),
    }


def _saved(model: Any, work: Work, depth: int) -> Callable[[], list[float]]:
    layers = Layers(depth, work.largest)
    for batch in work.ids:
        with model.trace(input_ids=batch, use_cache=False):
            outputs: Any = [(block.mlp.c_fc.output, block.mlp.act.output) for block in model.h]
            seen = outputs.save()
        for index, (before, after) in enumerate(seen):
            layers.before[index].take(before)
            layers.after[index].take(after)
    return layers.pick


def _inside(model: Any, work: Work, depth: int) -> Callable[[], list[float]]:
    layers = Layers(depth, work.largest)
    for batch in work.ids:
        with model.trace(input_ids=batch, use_cache=False):
            for index, block in enumerate(model.h):
                layers.before[index].take(block.mlp.c_fc.output)
                layers.after[index].take(block.mlp.act.output)
    return layers.pick


def _neurons(model: Any, batch: Tensor) -> list[Tensor]:
    """The neurons of every layer on a batch."""
    with model.trace(input_ids=batch, use_cache=False):
        outputs: Any = [block.mlp.act.output for block in model.h]
        seen = outputs.save()
    return list(seen)


if __name__ == "__main__":
    serve(build)

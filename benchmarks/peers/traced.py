"""The work by nnsight: traces of the model without its head, which save activations or add them to sums at once."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from nnsight import NNsight

from benchmarks.peers.by_hand import ModelSums, correlate, random_bases
from benchmarks.peers.serve import CORRELATION, SWEEP, PeerInputs, Tasks, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def build(inputs: PeerInputs) -> tuple[str, Tasks]:
    """The name of the library and its tasks."""
    models = [NNsight(inputs.model(number).base_model) for number in (0, 1)]
    config = inputs.model(0).config
    bases = random_bases(config.n_layer, config.n_inner or 4 * config.n_embd)
    neurons = [partial(_neurons, model) for model in models]
    return f"nnsight {version('nnsight')}", {
        (SWEEP, "trace and save"): lambda: _sweep_saved(models[0], inputs, config.n_layer),
        (SWEEP, "sums inside the trace"): lambda: _sweep_inside(models[0], inputs, config.n_layer),
        (CORRELATION, "trace and save"): lambda: correlate(inputs.ids, neurons),
        (CORRELATION, "trace and save, one random basis too"): lambda: correlate(inputs.ids, neurons, bases),
    }


def _sweep_saved(model: Any, inputs: PeerInputs, layers: int) -> Callable[[], list[float]]:
    sums = ModelSums(layers, inputs.n_largest)
    for batch in inputs.ids:
        with model.trace(input_ids=batch, use_cache=False):
            outputs: Any = [(block.mlp.c_fc.output, block.mlp.act.output) for block in model.h]
            saved = outputs.save()
        for index, (pre, post) in enumerate(saved):
            sums.pre[index].update(pre)
            sums.post[index].update(post)
    return sums.numbers


def _sweep_inside(model: Any, inputs: PeerInputs, layers: int) -> Callable[[], list[float]]:
    sums = ModelSums(layers, inputs.n_largest)
    for batch in inputs.ids:
        with model.trace(input_ids=batch, use_cache=False):
            for index, block in enumerate(model.h):
                sums.pre[index].update(block.mlp.c_fc.output)
                sums.post[index].update(block.mlp.act.output)
    return sums.numbers


def _neurons(model: Any, batch: Tensor) -> list[Tensor]:
    """The neurons of all layers on a batch, [row, position, unit]."""
    with model.trace(input_ids=batch, use_cache=False):
        outputs: Any = [block.mlp.act.output for block in model.h]
        saved = outputs.save()
    return list(saved)


if __name__ == "__main__":
    serve(build)

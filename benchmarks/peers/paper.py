"""The paper's procedure, reimplemented with plain hooks from its description (Gurnee et al. 2024).

For every batch it copies the neurons of all layers before and after the activation function in half precision,
[layer, neuron, token]. Those before are counted in histograms, from which moments and density follow later; those
after give sums and maxima per token of the vocabulary, and the fifty largest values. Its correlations are sums of
products of pairs of layers in float64; the baseline is a second run, in which the second model's neurons are rotated.
It is faster than the original in two respects: no head runs, and tables are updated in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmarks.peers.by_hand import N_CORRELATED, random_bases
from benchmarks.peers.serve import CORRELATION, SWEEP, PeerInputs, Tasks, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

LOWEST, HIGHEST, EDGES = -10.0, 15.0, 256
"""Edges of the histogram; values outside are counted in two further bins."""
N_LARGEST = 50


def build(inputs: PeerInputs) -> tuple[str, Tasks]:
    """The name of the procedure and its tasks."""
    models = [inputs.model(number) for number in (0, 1)]
    config = models[0].config
    bases = random_bases(config.n_layer, config.n_inner or 4 * config.n_embd)

    def both_runs() -> Callable[[], list[float]]:
        numbers = _correlate(models, inputs)
        _correlate(models, inputs, bases)
        return numbers

    return "the paper's procedure", {
        (SWEEP, f"histogram, by vocabulary, the {N_LARGEST} largest"): lambda: _sweep(models[0], inputs),
        (CORRELATION, "one run, no baseline"): lambda: _correlate(models, inputs),
        (CORRELATION, "both runs, one random basis"): both_runs,
    }


class PaperTables:
    """Tables over the neurons of all layers, [layer, neuron, ...]."""

    def __init__(self, layers: int, units: int, vocabulary: int) -> None:
        self.edges = torch.linspace(LOWEST, HIGHEST, EDGES)
        self.bins = torch.zeros(layers, units, EDGES + 1, dtype=torch.int32)
        self.highest = torch.zeros(layers, units, vocabulary, dtype=torch.float16)
        self.sums = torch.zeros(layers, units, vocabulary)
        self.counts = torch.zeros(vocabulary)
        self.largest = torch.zeros(layers, units, N_LARGEST)
        self.tokens_of_largest = torch.zeros(layers, units, N_LARGEST, dtype=torch.int64)
        self.tokens = 0

    def update(self, ids: Tensor, pre: Tensor, post: Tensor) -> None:
        """Add a batch: ids [row, position], activations [layer, neuron, token] in half precision."""
        bins = torch.searchsorted(self.edges, pre.float())
        self.bins.scatter_add_(2, bins, torch.ones_like(bins, dtype=torch.int32))
        by_token = ids.flatten().expand(post.shape)
        self.highest.scatter_reduce_(2, by_token, post, reduce="amax")
        self.sums.scatter_add_(2, by_token, post.float())
        present, count = ids.unique(return_counts=True)
        self.counts[present] += count
        numbers = (torch.arange(ids.numel()) + self.tokens).expand(post.shape)
        self.largest, places = torch.cat([self.largest, post.float()], dim=2).topk(N_LARGEST, dim=2)
        self.tokens_of_largest = torch.cat([self.tokens_of_largest, numbers], dim=2).gather(2, places)
        self.tokens += ids.numel()

    def numbers(self) -> list[float]:
        """The mean variance before the activation function, computed from the histogram."""
        width = self.edges[1] - self.edges[0]
        centres = torch.cat([self.edges - width / 2, self.edges[-1:] + width / 2]).double()
        share = self.bins.double() / self.tokens
        mean = share @ centres
        return [float((share @ centres**2 - mean**2).mean())]


def _sweep(model: Any, inputs: PeerInputs) -> Callable[[], list[float]]:
    config = model.config
    tables = PaperTables(config.n_layer, config.n_inner or 4 * config.n_embd, config.vocab_size)
    for batch in inputs.ids:
        tables.update(batch, *_copy_neurons(model, batch))
    return tables.numbers


def _correlate(models: Sequence[Any], inputs: PeerInputs, bases: Sequence[Tensor] = ()) -> Callable[[], list[float]]:
    sums: list[Tensor] = []
    cross, count = torch.zeros(0), 0
    for batch in inputs.ids:
        x, y = (_copy_neurons(model, batch)[1] for model in models)  # [layer, neuron, token]
        if bases:
            y = torch.stack([basis @ layer.float() for basis, layer in zip(bases, y, strict=True)])
        if not sums:
            cross = torch.zeros(*x.shape[:2], *y.shape[:2], dtype=torch.float64)
            sums = [torch.zeros(z.shape[:2], dtype=torch.float64) for z in (x, x, y, y)]
        for i, layer_of_x in enumerate(x):
            widened = layer_of_x.float()
            for j, layer_of_y in enumerate(y):
                cross[i, :, j, :] += widened @ layer_of_y.float().T
        for total, values in zip(sums, (x, x**2, y, y**2), strict=True):
            total += values.sum(dim=-1)
        count += x.shape[-1]

    def numbers() -> list[float]:
        a, aa, b, bb = (total[0, :N_CORRELATED] / count for total in sums)
        covariance = cross[0, :N_CORRELATED, 0, :N_CORRELATED] / count - torch.outer(a, b)
        rho = covariance / torch.outer((aa - a**2).sqrt(), (bb - b**2).sqrt())
        return [float(rho.square().mean()), float(rho.max())]

    return numbers


def _copy_neurons(model: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    """All neurons before and after the activation function, [layer, neuron, token] each, in half precision."""
    pre: list[Tensor] = []
    post: list[Tensor] = []
    handles = []
    for block in model.base_model.h:
        handles.append(block.mlp.c_fc.register_forward_hook(lambda _, __, out: pre.append(out.half())))
        handles.append(block.mlp.act.register_forward_hook(lambda _, __, out: post.append(out.half())))
    try:
        model.base_model(input_ids=ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    all_pre, all_post = (torch.stack([of_layer.flatten(0, 1).T for of_layer in of]) for of in (pre, post))
    return all_pre, all_post


if __name__ == "__main__":
    serve(build)

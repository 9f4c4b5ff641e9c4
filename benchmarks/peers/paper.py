"""The paper's procedure (Gurnee et al. 2024), written anew from its description, on plain hooks.

Of every batch it keeps half precision copies of the neurons of all layers before and after the activation function,
[layer, neuron, token]. From those before it counts a histogram, of which moments and density are made later; from
those after, sums and maxima by token of the vocabulary, and the fifty largest values. Its correlations are sums of
products by pairs of layers in float64; the baseline is a second run of everything, in which the second model's neurons
are rotated. In two things this is kinder than the original: no head is run, and tables are updated in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmarks.peers.serve import CORRELATION, SWEEP, Tasks, Work, serve
from benchmarks.peers.sums import PICKED, random_bases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

LOWEST, HIGHEST, EDGES = -10.0, 15.0, 256
"""The histogram; what lies outside is counted in two bins more."""
LARGEST = 50


def build(work: Work) -> tuple[str, Tasks]:
    """The models, and what is done with them."""
    models = [work.model(number) for number in (0, 1)]
    config = models[0].config
    bases = random_bases(config.n_layer, config.n_inner or 4 * config.n_embd)

    def both() -> Callable[[], list[float]]:
        plain = _correlated(models, work)
        _correlated(models, work, bases)
        return plain

    return "the paper's procedure", {
        (SWEEP, f"histogram, by vocabulary, the {LARGEST} largest"): lambda: _summary(models[0], work),
        (CORRELATION, "one run, no baseline"): lambda: _correlated(models, work),
        (CORRELATION, "both runs, one random basis"): both,
    }


class Summary:
    """Tables over the neurons of all layers, [layer, neuron, ...]."""

    def __init__(self, layers: int, units: int, vocabulary: int) -> None:
        self.edges = torch.linspace(LOWEST, HIGHEST, EDGES)
        self.bins = torch.zeros(layers, units, EDGES + 1, dtype=torch.int32)
        self.highest = torch.zeros(layers, units, vocabulary, dtype=torch.float16)
        self.sums = torch.zeros(layers, units, vocabulary)
        self.counts = torch.zeros(vocabulary)
        self.top = torch.zeros(layers, units, LARGEST)
        self.where = torch.zeros(layers, units, LARGEST, dtype=torch.int64)
        self.tokens = 0

    def take(self, ids: Tensor, before: Tensor, after: Tensor) -> None:
        """Add a batch: [layer, neuron, token] in half precision."""
        bins = torch.searchsorted(self.edges, before.float())
        self.bins.scatter_add_(2, bins, torch.ones_like(bins, dtype=torch.int32))
        by_token = ids.flatten().expand(after.shape)
        self.highest.scatter_reduce_(2, by_token, after, reduce="amax")
        self.sums.scatter_add_(2, by_token, after.float())
        seen, count = ids.unique(return_counts=True)
        self.counts[seen] += count
        numbers = (torch.arange(ids.numel()) + self.tokens).expand(after.shape)
        self.top, kept = torch.cat([self.top, after.float()], dim=2).topk(LARGEST, dim=2)
        self.where = torch.cat([self.where, numbers], dim=2).gather(2, kept)
        self.tokens += ids.numel()

    def pick(self) -> list[float]:
        """The mean variance before the activation function, as the histogram has it."""
        width = self.edges[1] - self.edges[0]
        centres = torch.cat([self.edges - width / 2, self.edges[-1:] + width / 2]).double()
        share = self.bins.double() / self.tokens
        mean = share @ centres
        return [float((share @ centres**2 - mean**2).mean())]


def _summary(model: Any, work: Work) -> Callable[[], list[float]]:
    config = model.config
    summary = Summary(config.n_layer, config.n_inner or 4 * config.n_embd, config.vocab_size)
    for batch in work.ids:
        summary.take(batch, *_copied(model, batch))
    return summary.pick


def _correlated(models: Sequence[Any], work: Work, bases: Sequence[Tensor] = ()) -> Callable[[], list[float]]:
    sums: list[Tensor] = []
    cross, count = torch.zeros(0), 0
    for batch in work.ids:
        x, y = (_copied(model, batch)[1] for model in models)  # [layer, neuron, token]
        if bases:
            y = torch.stack([basis @ layer.float() for basis, layer in zip(bases, y, strict=True)])
        if not sums:
            cross = torch.zeros(*x.shape[:2], *y.shape[:2], dtype=torch.float64)
            sums = [torch.zeros(z.shape[:2], dtype=torch.float64) for z in (x, x, y, y)]
        for i, of_x in enumerate(x):
            wide = of_x.float()
            for j, of_y in enumerate(y):
                cross[i, :, j, :] += wide @ of_y.float().T
        for total, values in zip(sums, (x, x**2, y, y**2), strict=True):
            total += values.sum(dim=-1)
        count += x.shape[-1]

    def pick() -> list[float]:
        a, aa, b, bb = (total[0, :PICKED] / count for total in sums)
        covariance = cross[0, :PICKED, 0, :PICKED] / count - torch.outer(a, b)
        rho = covariance / torch.outer((aa - a**2).sqrt(), (bb - b**2).sqrt())
        return [float(rho.square().mean()), float(rho.max())]

    return pick


def _copied(model: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    """All neurons before and after the activation function, [layer, neuron, token], in half precision."""
    before: list[Tensor] = []
    after: list[Tensor] = []
    handles = []
    for block in model.base_model.h:
        handles.append(block.mlp.c_fc.register_forward_hook(lambda _, __, out: before.append(out.half())))
        handles.append(block.mlp.act.register_forward_hook(lambda _, __, out: after.append(out.half())))
    try:
        model.base_model(input_ids=ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    both = (torch.stack([of.flatten(0, 1).T for of in layers]) for layers in (before, after))
    first, second = both
    return first, second


if __name__ == "__main__":
    serve(build)

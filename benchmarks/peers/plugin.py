"""The work by the plugin, and lower bounds: tasks that run in turns with those of other libraries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from benchmarks import correlation
from benchmarks import workload as work
from benchmarks.peers.by_hand import N_CORRELATED
from benchmarks.peers.serve import CORRELATION, SWEEP, PeerInputs, Tasks, serve
from benchmarks.sweep import MOMENTS_AND_LARGEST, sweep_once
from pytest_unineuron.statistics import POST, PRE
from pytest_unineuron.statistics.correlation import CrossComoments
from pytest_unineuron.statistics.gemm import fast_linear
from pytest_unineuron.universality.kinds import NEURONS
from pytest_unineuron.universality.selection import SelectionUnits

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.workload import Workload
    from pytest_unineuron.activations.sweep import SweepResult

NAME = "this plugin"


@dataclass(frozen=True)
class TaskNames:
    """The tasks of one kind: lower bounds by the products of the plugin and by torch's own, and the work.

    ``work_in_bases`` is the work with all random bases.
    """

    bound: str
    torch_bound: str
    work: str
    work_in_bases: str = ""


NAMES = {
    SWEEP: TaskNames("forward pass", "forward pass, torch's own products", "sweep"),
    CORRELATION: TaskNames(
        "two forward passes and a product",
        "two forward passes and a product, torch's own products",
        "all sums, no baseline",
        "all sums, those of every random basis included",
    ),
}


def build(inputs: PeerInputs) -> tuple[str, Tasks]:
    """The name of the plugin and its tasks."""
    models = [inputs.model(number) for number in (0, 1)]
    workload = _workload(models[0].config, inputs)
    compared = [work.compared_model(model, workload) for model in models]
    corpus = work.as_corpus(inputs.ids)
    batches = corpus.batches(workload.batch_tokens)

    def forward() -> Callable[[], list[float]]:
        for batch in batches:
            work.forward(models[0], batch)
        return list

    def fast_forward() -> Callable[[], list[float]]:
        with fast_linear(models[0]):
            return forward()

    def lower_bound(*, fast: bool) -> Callable[[], list[float]]:
        correlation.lower_bound(compared, batches, fast=fast)
        return list

    def sweep() -> Callable[[], list[float]]:
        result = sweep_once(compared[0], corpus, workload, MOMENTS_AND_LARGEST)
        return lambda: means_by_layer(result, workload)

    def sums() -> Callable[[], list[float]]:
        units = [SelectionUnits(model, batches, (NEURONS,)) for model in compared]
        comoments: CrossComoments | None = None
        for number in range(len(batches)):
            x, y = (of_model.units(number)[NEURONS] for of_model in units)
            comoments = comoments or CrossComoments.zeros(x.shift, y.shift)
            comoments.update(x, y)
        return lambda: _summarise(comoments)

    def sums_in_bases() -> Callable[[], list[float]]:
        _, products = correlation.all_products(compared, batches)
        return lambda: _summarise(next(products.finished())[1])

    of_sweep, of_correlation = NAMES[SWEEP], NAMES[CORRELATION]
    return NAME, {
        (SWEEP, of_sweep.bound): fast_forward,
        (SWEEP, of_sweep.torch_bound): forward,
        (SWEEP, of_sweep.work): sweep,
        (CORRELATION, of_correlation.bound): lambda: lower_bound(fast=True),
        (CORRELATION, of_correlation.torch_bound): lambda: lower_bound(fast=False),
        (CORRELATION, of_correlation.work): sums,
        (CORRELATION, of_correlation.work_in_bases): sums_in_bases,
    }


def _workload(config: Any, inputs: PeerInputs) -> Workload:
    _, rows, context = inputs.ids.shape
    return work.Workload(config.n_layer, config.n_embd, config.n_inner or 0, config.vocab_size, context, rows)


def _summarise(comoments: Any) -> list[float]:
    """The numbers that ``by_hand.ProductSums.numbers`` returns."""
    rho = comoments.correlation(slice(0, N_CORRELATED))[:N_CORRELATED]
    return [float(rho.square().mean()), float(rho.max())]


def means_by_layer(result: SweepResult, workload: Workload) -> list[float]:
    """The numbers that ``by_hand.ModelSums.numbers`` returns: means of statistics over the neurons of each layer."""
    numbers = []
    for site in (PRE, POST):
        moments = result.total(site, "moments")
        statistics = [moments.mean**2, moments.variance, moments.kurtosis]
        if site == PRE:
            statistics.append(result.total(site, "firing").density)
        else:
            statistics.append(result.total(site, "extremes").values.mean(dim=0))
        stacked = torch.stack([statistic.double() for statistic in statistics])  # [statistic, layer · neuron]
        by_layer = stacked.view(len(statistics), workload.layers, workload.layer_neurons).mean(dim=2)
        numbers += by_layer.T.flatten().tolist()
    return numbers


if __name__ == "__main__":
    from pytest_unineuron.system import process

    process.configure()
    serve(build)

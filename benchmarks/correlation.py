"""The cost of comparing two seeds, compared with two forward passes and one product of all neurons."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from benchmarks import workload as work
from benchmarks.machine import processor
from benchmarks.result import BenchmarkResult
from benchmarks.timing import interleave, timed
from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.statistics.gemm import add_product, fast_linear
from pytest_unineuron.universality.blocks import Cell
from pytest_unineuron.universality.choice import PartnerSearch
from pytest_unineuron.universality.kinds import NEURONS
from pytest_unineuron.universality.match import match
from pytest_unineuron.universality.products import BlockProducts
from pytest_unineuron.universality.seeds import SeedActivations
from pytest_unineuron.universality.selection import SelectionUnits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.workload import Workload
    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.universality.units import ComparedModel

TITLE = "Correlation of two models, compared with two forward passes and one product of all neurons"
BOUND = "lower bound: two forward passes and one product, same products"
TORCH_BOUND = "lower bound, torch's own products"
SUMS = "all sums of products of two models, those of every random basis included"
TARGETS = {SUMS: 1.10}


def run(workload: Workload, batches: int, repeats: int) -> BenchmarkResult:
    """Measure the comparison of models on ``batches`` batches."""
    models = work.random_models(workload, 3)
    read = work.as_corpus(work.random_ids(workload, batches)).batches(workload.batch_tokens)
    with torch.inference_mode():
        warm_up = [lambda: lower_bound(models, read[:1]), lambda: comparison(models[:2], read[:2])]
        seconds = interleave(_variants(models, read), repeats, warm_up)
    columns = (
        "what",
        "seconds",
        "× lower bound, same products",
        "target",
        f"× lower bound, torch's own products on {processor(workload.device)}",
    )
    rows = tuple(
        (name, of_row, of_row.ratio_to(seconds[BOUND]), TARGETS.get(name), of_row.ratio_to(seconds[TORCH_BOUND]))
        for name, of_row in seconds.items()
    )
    note = (
        f"{workload}, {batches} batches: {workload.model_neurons} neurons in each model. The time for the search for "
        "partners, in a random basis too, does not grow with the text."
    )
    return BenchmarkResult("correlation", TITLE, columns, rows, note)


def _variants(models: Sequence[ComparedModel], batches: list[Batch]) -> dict[str, Callable[[], float]]:
    return {
        BOUND: lambda: lower_bound(models, batches),
        TORCH_BOUND: lambda: lower_bound(models, batches, fast=False),
        SUMS: lambda: sums_of_products(models, batches),
        "search for partners, in a random basis too (once per pair of models)": lambda: search(models, batches),
        "comparison with one seed: partners chosen on half the text, read on the other": (
            lambda: comparison(models[:2], batches)
        ),
        "comparison with two seeds": lambda: comparison(models, batches),
    }


@timed
def lower_bound(models: Sequence[ComparedModel], batches: list[Batch], *, fast: bool = True) -> None:
    """Run two models and multiply matrices of the size of their neurons.

    ``fast`` uses the product library of the plugin, otherwise torch's own.
    """
    units = sum(models[0].sizes(NEURONS))
    device = models[0].model.device
    product = torch.zeros(units, units, device=device)
    x = torch.ones(batches[0].tokens, units, device=device)
    if fast:
        x = x.T.contiguous().T  # the plugin stores the values of each unit contiguously
    for batch in batches:
        for model in models[:2]:
            with fast_linear(model.model) if fast else nullcontext():
                work.forward(model.model, batch)
        if fast:
            add_product(product, x, x)
        else:
            product.addmm_(x.T, x)


@timed
def forward_passes(models: Sequence[ComparedModel], batches: list[Batch]) -> None:
    """Run two models as the plugin does, and drop their activations."""
    for batch in batches:
        for model in models[:2]:
            with capture_activations(model.model, model.anatomy.layout, lambda *_: None, stream=False) as capture:
                capture.forward(batch.ids, batch.attention_mask)


def all_products(models: Sequence[ComparedModel], batches: list[Batch]) -> tuple[SeedActivations, BlockProducts]:
    """The second model as a seed of the first, and the sums of all products over all batches, in one block."""
    subject, other = models[:2]
    # Room 0, because no control arm is compared with the same seed.
    seed = SeedActivations(other, batches, kinds=(NEURONS,), room=0)
    rows, layers = sum(subject.sizes(NEURONS)), len(other.sizes(NEURONS))
    products = BlockProducts((Cell(NEURONS, 0, (0, rows), (0, layers), within=True),), [seed])
    units = SelectionUnits(subject, batches, (NEURONS,))
    for number in range(len(batches)):
        products.update(number, units.units(number, (NEURONS,)))
    return seed, products


@timed
def sums_of_products(models: Sequence[ComparedModel], batches: list[Batch]) -> None:
    """Compute the sums that all correlations and baselines follow from, over all tokens."""
    all_products(models, batches)


@timed
def search(models: Sequence[ComparedModel], batches: list[Batch]) -> float:
    """Search for partners, given the sums of one batch, which do not count; returns when the search started."""
    seed, products = all_products(models, batches[:1])
    seed.draw_bases()
    partners = PartnerSearch(seed, NEURONS, sum(models[0].sizes(NEURONS)), absolute=False)
    start = time.perf_counter()
    for cell, sums in products.finished():
        partners.update(sums, cell)
    partners.choice()
    return start


@timed
def comparison(models: Sequence[ComparedModel], batches: list[Batch]) -> None:
    """Match the first model in the others: partners from every second batch, correlations from the rest."""
    split = work.with_held_out_split(batches)
    seeds = [SeedActivations(seed, split, kinds=(NEURONS,)) for seed in models[1:]]
    match(models[0], split, seeds, kinds=(NEURONS,))

"""The work by the plugin, and what cannot be done without: told in turns with the other libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from pytest_unineuron.universality.reader import Reader

from benchmarks import correlation, work
from benchmarks.peers.serve import CORRELATION, SWEEP, Tasks, Work, serve
from benchmarks.peers.sums import PICKED
from benchmarks.sweep import EXTREMES, swept
from pytest_unineuron.statistics import POST, PRE
from pytest_unineuron.statistics.correlation import CrossComoments
from pytest_unineuron.universality.products import gather
from pytest_unineuron.universality.seeds import SeedActivations
from pytest_unineuron.universality.units import NEURONS

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "this plugin"
BARE = {SWEEP: "the pass alone", CORRELATION: "two passes and a product"}
"""What every other task of a kind is divided by."""
DOES = {SWEEP: "a sweep", CORRELATION: "all sums, without a baseline"}
ALL_SUMS = "all sums, those of every random basis included"


def build(given: Work) -> tuple[str, Tasks]:
    """The models, and what is done with them."""
    models = [given.model(number) for number in (0, 1)]
    shape = _shape(models[0].config, given)
    members = [work.member(model, shape) for model in models]
    text = work.text(given.ids)
    batches = text.batches(shape.tokens)

    def alone() -> Callable[[], list[float]]:
        for batch in batches:
            work.forward(models[0], batch)
        return list

    def bound() -> Callable[[], list[float]]:
        correlation.bound(members, batches)
        return list

    def sweep() -> Callable[[], list[float]]:
        found = swept(members[0], text, shape, EXTREMES)
        return lambda: _picked(found, shape)

    def plain() -> Callable[[], list[float]]:
        readers = [Reader(member, batches, (NEURONS,)) for member in members]
        sums: CrossComoments | None = None
        for number in range(len(batches)):
            x, y = (reader.units(number)[NEURONS] for reader in readers)
            sums = sums or CrossComoments.zeros(x.shift, y.shift)
            sums.update(x, y)
        return lambda: _correlated(sums)

    def pair() -> Callable[[], list[float]]:
        seed = SeedActivations(members[1], batches, kinds=(NEURONS,), room=0)
        sums = gather(members[0], batches, [seed], kinds=(NEURONS,))[NEURONS, 0]
        return lambda: _correlated(sums)

    return NAME, {
        (SWEEP, BARE[SWEEP]): alone,
        (SWEEP, DOES[SWEEP]): sweep,
        (CORRELATION, BARE[CORRELATION]): bound,
        (CORRELATION, DOES[CORRELATION]): plain,
        (CORRELATION, ALL_SUMS): pair,
    }


def _shape(config: Any, given: Work) -> work.Shape:
    _, rows, context = given.ids.shape
    return work.Shape(config.n_layer, config.n_embd, config.n_inner or 0, config.vocab_size, context, rows)


def _correlated(sums: Any) -> list[float]:
    """The numbers that ``sums.Products`` picks."""
    rho = sums.correlation(slice(0, PICKED))[:PICKED]
    return [float(rho.square().mean()), float(rho.max())]


def _picked(found: Any, shape: work.Shape) -> list[float]:
    """The numbers that ``sums.Layers`` picks, layer by layer."""
    numbers = []
    for site in (PRE, POST):
        moments = found.total(site, "moments")
        columns = [moments.mean**2, moments.variance, moments.kurtosis]
        if site == PRE:
            columns.append(found.total(site, "firing").density)
        else:
            columns.append(found.total(site, "extremes").values.mean(dim=0))
        by_layer = torch.stack([column.double() for column in columns]).view(len(columns), shape.layers, shape.units)
        numbers += by_layer.mean(dim=2).T.flatten().tolist()
    return numbers


if __name__ == "__main__":
    from pytest_unineuron.system import process

    process.configure()
    serve(build)

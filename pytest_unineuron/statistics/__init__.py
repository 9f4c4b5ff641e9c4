"""Statistics: one of them, one file. What a sweep gathers is a sum: ``of`` a batch makes one, ``+`` joins two.

While a sweep runs, every sum is held by an Accumulator, which adds batch after batch in place. To add a statistic to
the sweep, write its file and add a row here, with the sites it is gathered at.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pytest_unineuron.statistics.layer_batch import LayerBatch
    from pytest_unineuron.statistics.scratch import Scratch

T = TypeVar("T", covariant=True)

PRE, POST, RESIDUAL, UP = "pre", "post", "residual", "up"
"""Sites: what the activation function reads (of a gated neuron, the gate), what the output projection reads, the
middle residual stream, and the factor that a gated neuron's gate multiplies."""

DEFAULT_SITES = frozenset({PRE, POST, RESIDUAL})
"""What one sweep gathers; the other factor of gated neurons is swept when it is asked for."""

STATISTICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "moments": ("pytest_unineuron.statistics.moments:Moments", (PRE, POST, RESIDUAL, UP)),
    "firing": ("pytest_unineuron.statistics.firing:Firing", (PRE, RESIDUAL, UP)),
    "extremes": ("pytest_unineuron.statistics.extremes:Extremes", (POST,)),
    "label_means": ("pytest_unineuron.statistics.label_means:LabelMeans", (POST,)),
}


class Statistic(Protocol):
    """What every swept statistic is: made from a batch, added to another, joined side by side over layers."""

    @classmethod
    def of(cls, values: Tensor, tokens: Tensor, labels: Tensor) -> Self:
        """The statistic of one batch: ``values`` [token, unit], the number and the label of each token [token]."""
        ...

    def __add__(self, other: Self) -> Self:
        """The statistic of both batches together."""
        ...

    @classmethod
    def concat_units(cls, parts: Sequence[Self]) -> Self:
        """The units of all parts, one after the other; experts' are over tokens of their own."""
        ...

    @classmethod
    def accumulator(cls, units: int, device: Any) -> Accumulator[Self]:
        """Nothing yet of so many units, to which batches can be added in place."""
        ...


class Accumulator(Protocol[T]):
    """A sum under way. Batches taken one after the other make what ``of`` their tokens together makes, or ``+``.

    Nothing here reads a number off the device, so that a GPU is never waited for.
    """

    def update(self, tile: Tensor, scratch: Scratch) -> None:
        """The next rows of a batch, [token, unit], as ``LayerBatch.tiles`` cuts them."""
        ...

    def finish_batch(self, rows: LayerBatch) -> None:
        """The whole batch, once all of its tiles were taken; only now its tokens have numbers and labels."""
        ...

    def result(self) -> T:
        """What was taken so far."""
        ...


def statistics_at(site: str) -> dict[str, type[Statistic]]:
    """The statistics gathered at a site, by name."""
    found = {}
    for name, (where, sites) in STATISTICS.items():
        if site in sites:
            module, _, attribute = where.partition(":")
            found[name] = getattr(import_module(module), attribute)
    return found

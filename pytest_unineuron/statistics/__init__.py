"""Statistics: one of them, one file. What a sweep gathers is a sum: ``of`` a batch makes one, ``+`` joins two.

To add a statistic to the sweep, write its file and add a row here, with the sites it is gathered at.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

PRE, POST, RESIDUAL, UP = "pre", "post", "residual", "up"
"""Sites: what the activation function reads (of a gated neuron, the gate), what the output projection reads, the
middle residual stream, and the factor that a gated neuron's gate multiplies."""

ALL = frozenset({PRE, POST, RESIDUAL})
"""What one sweep gathers; the other factor of gated neurons is swept when it is asked for."""

SWEPT: dict[str, tuple[str, tuple[str, ...]]] = {
    "moments": ("pytest_unineuron.statistics.moments:Moments", (PRE, POST, RESIDUAL, UP)),
    "firing": ("pytest_unineuron.statistics.firing:Firing", (PRE, RESIDUAL, UP)),
    "extremes": ("pytest_unineuron.statistics.extremes:Extremes", (POST,)),
    "by_label": ("pytest_unineuron.statistics.by_label:ByLabel", (POST,)),
}


class Sum(Protocol):
    """What every swept statistic is: made from a batch, added to another, joined side by side over layers."""

    @classmethod
    def of(cls, values: Tensor, tokens: Tensor, labels: Tensor) -> Self:
        """The statistic of one batch: ``values`` [token, unit], the number and the label of each token [token]."""
        ...

    def __add__(self, other: Self) -> Self:
        """The statistic of both batches together."""
        ...

    @classmethod
    def beside(cls, parts: Sequence[Self]) -> Self:
        """The units of all parts, one after the other; experts' are over tokens of their own."""
        ...


def swept(site: str) -> dict[str, type[Sum]]:
    """The statistics gathered at a site, by name."""
    found = {}
    for name, (where, sites) in SWEPT.items():
        if site in sites:
            module, _, attribute = where.partition(":")
            found[name] = getattr(import_module(module), attribute)
    return found

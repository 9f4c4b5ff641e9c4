"""Statistics of units: functions of numbers, and the table of statistics that a pass over a text can accumulate.

To add a statistic to the pass, write its file (a Statistic and its Accumulator) and add a row to ``STATISTICS``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_unineuron.statistics.accumulator import Statistic

PRE, POST, RESIDUAL, UP = "pre", "post", "residual", "up"
"""Sites: the input of the activation function (of a gated neuron, the gate), the input of the output projection, the
middle residual stream, and the factor that the gate of a gated neuron multiplies."""

DEFAULT_SITES = frozenset({PRE, POST, RESIDUAL})
"""The sites of an ordinary pass. UP is only accumulated on request."""

STATISTICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "moments": ("pytest_unineuron.statistics.moments:Moments", (PRE, POST, RESIDUAL, UP)),
    "firing": ("pytest_unineuron.statistics.firing:Firing", (PRE, RESIDUAL, UP)),
    "extremes": ("pytest_unineuron.statistics.extremes:Extremes", (POST,)),
    "label_means": ("pytest_unineuron.statistics.label_means:LabelMeans", (POST,)),
}
"""For every statistic, the path of its class and the sites at which it is accumulated."""


def statistics_at(site: str) -> dict[str, type[Statistic]]:
    """Return the classes of the statistics that are accumulated at a site, by name; imports torch."""
    found = {}
    for name, (path, sites) in STATISTICS.items():
        if site in sites:
            module, _, attribute = path.partition(":")
            found[name] = getattr(import_module(module), attribute)
    return found

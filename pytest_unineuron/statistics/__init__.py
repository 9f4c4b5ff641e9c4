"""Statistics of units: functions of numbers, and the table of statistics that a pass over a text can accumulate.

To add a statistic to the pass here, write its file (a Statistic and its Accumulator) and add a row to ``STATISTICS``.
Others are declared with ``extend.statistic``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_unineuron.extend.table import Table, load

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_unineuron.statistics.accumulator import Statistic

PRE, POST, RESIDUAL, UP = "pre", "post", "residual", "up"
"""Sites: the input of the activation function (of a gated neuron, the gate), the input of the output projection, the
middle residual stream, and the factor that the gate of a gated neuron multiplies."""

DEFAULT_SITES = frozenset({PRE, POST, RESIDUAL})
"""The sites of an ordinary pass."""

ATTENTION = "attention"
"""The input of the heads' output projection, of which kinds of units are made; no statistic is of it."""

UNITS = "units"
"""A place for statistics of every kind of units that an extension adds, each of which is a site by its own name."""

EXTREMES = "extremes"
"""The statistic of the largest post-activations. It is requested like a site; as UP, it is not in an ordinary pass."""

SINKS = "sinks"
"""The attention sinks of a model on a text, which are requested like a site and need no statistic."""

BUILT_IN: dict[str, tuple[Any, tuple[str, ...]]] = {
    "moments": ("pytest_unineuron.statistics.moments:Moments", (PRE, POST, RESIDUAL, UP, UNITS)),
    "firing": ("pytest_unineuron.statistics.firing:Firing", (PRE, RESIDUAL, UP, UNITS)),
    EXTREMES: ("pytest_unineuron.statistics.extremes:Extremes", (POST,)),
    "label_means": ("pytest_unineuron.statistics.label_means:LabelMeans", (POST,)),
}
STATISTICS = Table("statistic", BUILT_IN)
"""For every statistic, its class or the path of it, and the sites at which it is accumulated."""


def statistics_for(sites: Collection[str]) -> dict[str, list[str]]:
    """Return the names of the statistics that a pass accumulates at each site, if these are requested of it."""
    found = {
        site: [name for name, (_, places) in STATISTICS.items() if _place(site) in places and name != EXTREMES]
        for site in sites
        if site != EXTREMES
    }
    if EXTREMES in sites:
        found.setdefault(POST, []).append(EXTREMES)
    return found


def statistic_class(name: str) -> type[Statistic]:
    """Return the class of a statistic; imports torch."""
    found: type[Statistic] = load(STATISTICS[name][0])
    return found


def statistic_with(value: str, site: str) -> str:
    """Return the name of the statistic at a site whose class has such a property; empty if none has."""
    at_site = [name for name, (_, places) in STATISTICS.items() if _place(site) in places]
    return next((name for name in at_site if isinstance(vars(statistic_class(name)).get(value), property)), "")


def _place(site: str) -> str:
    return site if site in (PRE, POST, RESIDUAL, UP, ATTENTION, SINKS) else UNITS

"""Tables for the report with rows for the layers of a model: roles by depth, and partners in seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pytest_unineuron.lab.universality import Matched
    from pytest_unineuron.roles.composition import Composition

    Table = tuple[list[str], list[list[Any]]]
    """The names of the columns behind the layer, and the rows."""

MOST_UNIVERSAL = 20
"""The number of neurons that are listed with their partners."""


def role_table(found: Composition, layer: NDArray[np.int64], *, gated: bool) -> Table:
    """Return the share of the neurons of each layer [neuron] that have each role in the logits.

    The skew of a gated neuron has an arbitrary sign, so that prediction and suppression are one role there.
    """
    roles = {"prediction": found.prediction(), "suppression": found.suppression()}
    if gated:
        roles = {"prediction or suppression": found.logit_neurons}
    roles["partition"] = found.partition
    rows = [
        [number, *(round(float(has[layer == number].mean()), 4) for has in roles.values())]
        for number in np.unique(layer).tolist()
    ]
    return list(roles), rows


def match_table(found: Matched) -> Table:
    """Return how many universal neurons of each layer have their best match in each layer of a seed, over all seeds."""
    layer, partner_layer, universal = found.layer, found.partner_layer, found.universal
    partners = np.unique(partner_layer[partner_layer >= 0]).tolist()
    rows = []
    for number in np.unique(layer).tolist():
        matched = partner_layer[:, universal & (layer == number)]
        rows.append([number, *(int((matched == other).sum()) for other in partners)])
    return [f"layer {other}" for other in partners], rows


def partner_table(found: Matched, seeds: Sequence[str], layers: Callable[[str], NDArray[np.int64]]) -> Table:
    """Return the most universal neurons, each with its excess correlation and its best partner in any of ``seeds``.

    ``layers`` returns the layer of each neuron of a seed, [neuron]. Neurons are numbered within their layers.
    """
    layer, excess, correlation = found.layer, found.excess, found.correlation
    partner, partner_layer = found.partner, found.partner_layer
    rows: list[list[Any]] = []
    most = np.argsort(-excess, kind="stable")[:MOST_UNIVERSAL]  # units without an excess come last
    for unit in most[np.isfinite(excess[most])].tolist():
        seed = int(np.argmax(np.abs(correlation[:, unit])))
        rows.append(
            [
                int(layer[unit]),
                _within_layer(layer, unit),
                round(float(excess[unit]), 4),
                round(float(correlation[seed, unit]), 4),
                seeds[seed],
                int(partner_layer[seed, unit]),
                _within_layer(layers(seeds[seed]), int(partner[seed, unit])),
            ]
        )
    return ["neuron", "excess", "correlation", "seed", "layer of the partner", "partner"], rows


def _within_layer(layer: NDArray[np.int64], unit: int) -> int:
    """The number of a unit within its layer."""
    return unit - int(np.argmax(layer == layer[unit]))

"""The kinds of units that are compared between models, by name. No torch.

To add a kind here, write its encoders, if it has any, and add a row to ``KINDS``. Others are declared with
``extend.units``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_unineuron.extend.table import Table
from pytest_unineuron.statistics import ATTENTION, POST, RESIDUAL


@dataclass(frozen=True)
class UnitKind:
    """One row: the units of a ``site``, or those that ``encoders`` compute from them.

    ``encoders`` is MODULE:FUNCTION or a function that returns, from a view of the weights of a model, one module for
    each layer of the site, from [token, unit of the site] to [token, unit]; None for a layer without such units. With
    ``signed`` the sign of a unit has a meaning. From units that are ``centred``, the mean over the rows of a batch is
    taken off at every position. Those that are ``rotated`` are replaced by the control that replaces units.

    ``bases`` is the number of random bases, over which the baseline is the mean. The best of many directions is much
    the same in every basis; the best of few is not.
    """

    site: str
    encoders: Any = None
    signed: bool = False
    centred: bool = False
    rotated: bool = True
    bases: int = 3


NEURONS, DIMENSIONS, VALUES, HEADS = "neurons", "residual dimensions", "head values", "heads"
"""MLP neurons, after the activation function unless a ComparedModel says otherwise; the middle residual stream; the
input of the heads' output projection; and one number per head, the norm of its output beyond the mean norm at that
position."""
BUILT_IN = {
    NEURONS: UnitKind(POST, signed=True, bases=1),
    DIMENSIONS: UnitKind(RESIDUAL),
    VALUES: UnitKind(ATTENTION, rotated=False),
    HEADS: UnitKind(
        ATTENTION, "pytest_unineuron.universality.head_norms:head_norms", signed=True, centred=True, rotated=False
    ),
}
KINDS = Table("kind of units", BUILT_IN)

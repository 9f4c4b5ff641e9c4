"""What the report shows of the statistics that trials read: their quantiles, and tables by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_unineuron.lab.layer_tables import match_table, partner_table, role_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pytest_unineuron.lab.arm import Arm
    from pytest_unineuron.lab.layer_tables import Table
    from pytest_unineuron.lab.reporting import Reporting
    from pytest_unineuron.lab.universality import Matched
    from pytest_unineuron.roles.composition import Composition

LEVELS = (5, 25, 50, 75, 95)
"""The quantiles of a distribution, in per cent."""


class Distributions:
    """Reports how each statistic of an arm is distributed over its units, and tables of it by layer, once."""

    def __init__(self, reporting: Reporting) -> None:
        self._reporting = reporting
        self._noted: set[tuple[Arm, str, str]] = set()

    def note(
        self,
        arm: Arm,
        corpus: str,
        statistic: str,
        values: Callable[[], NDArray[np.float64]],
        layer: Callable[[], NDArray[np.int64]],
    ) -> None:
        """Report the quantiles of ``values()`` [unit], of the layers ``layer()`` [unit], unless that was done."""
        self._note_once(
            arm,
            corpus,
            statistic,
            lambda: {"kind": "distribution", "statistic": statistic, "rows": quantile_rows(values(), layer())},
        )

    def note_matches(
        self, arm: Arm, corpus: str, found: Matched, seeds: Sequence[str], layers: Callable[[str], NDArray[np.int64]]
    ) -> None:
        """Report the excess correlation of neurons and, of the model itself, in which layers of ``seeds`` they match.

        ``layers`` returns the layer of each neuron of a model, [neuron].
        """
        self.note(arm, corpus, "excess", lambda: found.excess, lambda: found.layer)
        if not arm.activation_source.control:
            self._note_table(arm, corpus, "matches", lambda: match_table(found))
            self._note_table(arm, corpus, "partners", lambda: partner_table(found, seeds, layers))

    def note_composition(
        self, arm: Arm, found: Composition, layer: Callable[[], NDArray[np.int64]], *, gated: bool
    ) -> None:
        """Report the kurtosis over the vocabulary, and which share of each layer [neuron] has which role in logits."""
        self.note(arm, "", "composition", lambda: found.kurtosis, layer)
        self._note_table(arm, "", "roles", lambda: role_table(found, layer(), gated=gated))

    def _note_table(self, arm: Arm, corpus: str, name: str, table: Callable[[], Table]) -> None:
        def found() -> dict[str, Any]:
            columns, rows = table()
            return {"kind": "table", "name": name, "columns": columns, "rows": rows}

        self._note_once(arm, corpus, name, found)

    def _note_once(self, arm: Arm, corpus: str, name: str, found: Callable[[], dict[str, Any]]) -> None:
        arm = arm.activation_source
        if (arm, corpus, name) not in self._noted:
            self._noted.add((arm, corpus, name))
            place = {"model": arm.model, "corpus": corpus, "control": arm.control, "draw": arm.draw}
            self._reporting.note({**place, **found()})


def quantile_rows(values: NDArray[np.float64], layer: NDArray[np.int64]) -> list[list[Any]]:
    """Return a row over all units and one for each layer: its number or None, the number of units, the quantiles.

    Units whose value is nan are left out of both, and a row without any other has no quantiles. Quantiles have four
    significant digits.
    """
    known = np.isfinite(values)
    rows: list[list[Any]] = []
    for number in (None, *np.unique(layer).tolist()):
        found = values[known if number is None else known & (layer == number)]
        quantiles = np.percentile(found, LEVELS).tolist() if len(found) else []
        rows.append([number, len(found), *(float(f"{quantile:.4g}") for quantile in quantiles)])
    return rows

"""Quantiles of the statistics that trials read, for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_unineuron.lab.arm import Arm
    from pytest_unineuron.lab.reporting import Reporting

LEVELS = (5, 25, 50, 75, 95)
"""The quantiles of a distribution, in per cent."""


class Distributions:
    """Reports how each statistic of an arm is distributed over its units, once."""

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
        arm = arm.activation_source
        key = arm, corpus, statistic
        if key not in self._noted:
            self._noted.add(key)
            rows = quantile_rows(values(), layer())
            place = {"model": arm.model, "corpus": corpus, "control": arm.control, "draw": arm.draw}
            self._reporting.note({"kind": "distribution", **place, "statistic": statistic, "rows": rows})


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

"""Holm's correction for several tests: without it, the more there are, the likelier one is significant by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNIFICANCE_LEVEL = 0.05


def holm_adjust(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p-values after Holm's step-down correction (Holm 1979), under the same names.

    Tests whose adjusted p-value is at most ``SIGNIFICANCE_LEVEL`` are significant together: the probability of any
    false alarm among them is at most that level.

    >>> holm_adjust({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = largest
    return adjusted

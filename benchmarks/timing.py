"""Times that can be compared on a noisy machine: all variants take turns, and ratios are made within a turn."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import wraps
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

ENOUGH = 4
"""From this many values on, the spread is their quartiles; with fewer it is the least and the largest."""


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing, in the order in which they were made."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    @property
    def low(self) -> float:
        """The lower quartile, or the least."""
        return self._quartile(0) if len(self.values) >= ENOUGH else min(self.values)

    @property
    def high(self) -> float:
        """The upper quartile, or the largest."""
        return self._quartile(2) if len(self.values) >= ENOUGH else max(self.values)

    def _quartile(self, index: int) -> float:
        return quantiles(self.values, n=4, method="inclusive")[index]

    def over(self, other: Spread) -> Spread:
        """The ratio to what was measured in the same turn. Raises ValueError if there were not as many turns."""
        return Spread(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))

    def over_at_best(self, other: Spread) -> float:
        """The ratio of the least of each: what it is where nothing else wanted the machine meanwhile."""
        return min(self.values) / min(other.values)

    def less(self, other: Spread) -> Spread:
        """The difference to what was measured in the same turn."""
        return Spread(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))

    def times(self, factor: float) -> Spread:
        """The same in another unit."""
        return Spread(tuple(value * factor for value in self.values))


def interleaved(
    variants: Mapping[str, Callable[[], float]], turns: int, warm: Iterable[Callable[[], Any]] = ()
) -> dict[str, Spread]:
    """What every variant returned in each turn, such as its seconds; ``warm`` is called first and not counted.

    Each turn begins with another variant, so that none always follows the same one.
    """
    for variant in warm:
        variant()
    found: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(turns):
        for name in _from(list(variants), turn):
            found[name].append(variants[name]())
    return {name: Spread(tuple(values)) for name, values in found.items()}


def _from(names: Sequence[str], turn: int) -> list[str]:
    """All of them, beginning with another one in each turn."""
    start = turn % len(names) if names else 0
    return [*names[start:], *names[:start]]


def timed(variant: Callable[..., Any]) -> Callable[..., float]:
    """The same, returning the seconds it took: all of it, or from the moment that it returns.

    What an accelerator was asked to do is waited for.
    """

    @wraps(variant)
    def run(*given: Any, **named: Any) -> float:
        _wait()
        start = time.perf_counter()
        began = variant(*given, **named)
        _wait()
        return time.perf_counter() - (began if isinstance(began, float) else start)

    return run


def _wait() -> None:
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()

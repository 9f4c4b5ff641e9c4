"""Timing on a machine that is also used by others: variants take turns, and ratios are taken within a turn."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import wraps
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MIN_FOR_QUARTILES = 4
"""The fewest values whose spread is given by quartiles; that of fewer is given by the minimum and maximum."""


@dataclass(frozen=True)
class Samples:
    """Repeated measurements of one quantity, one value per turn."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def low(self) -> float:
        """The lower quartile, or the minimum of few values."""
        return self._quartile(0) if len(self.values) >= MIN_FOR_QUARTILES else min(self.values)

    @property
    def high(self) -> float:
        """The upper quartile, or the maximum of few values."""
        return self._quartile(2) if len(self.values) >= MIN_FOR_QUARTILES else max(self.values)

    def _quartile(self, index: int) -> float:
        return quantiles(self.values, n=4, method="inclusive")[index]

    def ratio_to(self, other: Samples) -> Samples:
        """The ratio to another quantity, turn by turn. Raises ValueError if the numbers of turns differ."""
        return Samples(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))

    def ratio_of_minima(self, other: Samples) -> float:
        """The ratio of the smallest values, which other work on the machine affects least."""
        return min(self.values) / min(other.values)

    def minus(self, other: Samples) -> Samples:
        """The difference to another quantity, turn by turn. Raises ValueError if the numbers of turns differ."""
        return Samples(tuple(a - b for a, b in zip(self.values, other.values, strict=True)))

    def scaled(self, factor: float) -> Samples:
        """All values times ``factor``, as for another unit."""
        return Samples(tuple(value * factor for value in self.values))


def interleave(
    variants: Mapping[str, Callable[[], float]], repeats: int, warm_up: Iterable[Callable[[], Any]] = ()
) -> dict[str, Samples]:
    """The values that each variant returns, such as seconds, when all of them run ``repeats`` times in turns.

    Each turn starts with the next variant, so that none always follows the same other one. ``warm_up`` is called first
    and not measured.
    """
    for variant in warm_up:
        variant()
    names = list(variants)
    values: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        start = turn % len(names)
        for name in (*names[start:], *names[:start]):
            values[name].append(variants[name]())
    return {name: Samples(tuple(of_variant)) for name, of_variant in values.items()}


def timed(function: Callable[..., Any]) -> Callable[..., float]:
    """Make a function return the seconds that it took, work that it left to a GPU included.

    A function with preparations that do not count returns the time, by ``time.perf_counter``, at which they ended.
    """

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> float:
        _synchronize()
        start = time.perf_counter()
        prepared = function(*args, **kwargs)
        _synchronize()
        return time.perf_counter() - (prepared if isinstance(prepared, float) else start)

    return run


def _synchronize() -> None:
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()

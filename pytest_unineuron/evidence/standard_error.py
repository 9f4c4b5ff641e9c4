"""How an estimate varies: what two runs need of it to tell a change from noise."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class StandardError:
    """The standard error of an estimate with its degrees of freedom.

    ``resolution`` is the finest step the value moves in. ``parts`` has, for each independent sample, the value
    with each of its groups of documents left out; two runs over the same documents are paired by them.
    """

    error: float
    degrees: int
    resolution: float = 0.0
    parts: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, estimate: object) -> StandardError | None:
        """The spread that an estimate carries; None if it has none that is finite."""
        error = getattr(estimate, "error", None)
        degrees = int(getattr(estimate, "degrees", 1))
        if not isinstance(error, float | int) or not math.isfinite(error) or error < 0 or degrees < 1:
            return None
        parts = tuple(tuple(map(float, sample)) for sample in getattr(estimate, "parts", ()))
        if not all(math.isfinite(value) for sample in parts for value in sample):
            parts = ()
        return cls(float(error), degrees, float(getattr(estimate, "resolution", 0.0)), parts)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**asdict(self), "parts": [list(sample) for sample in self.parts]}

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> StandardError:
        """What ``as_dict`` wrote."""
        return cls(**{**data, "parts": tuple(tuple(sample) for sample in data["parts"])})

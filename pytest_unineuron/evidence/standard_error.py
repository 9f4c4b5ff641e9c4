"""The standard error of an estimate, by which two runs tell a change from noise."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class StandardError:
    """A standard error with its degrees of freedom.

    ``resolution`` is the smallest step by which the value can change. ``parts`` holds, for each independent sample,
    the value with each of its groups of documents left out [group]: runs over the same documents are paired by these.
    """

    error: float
    degrees: int
    resolution: float = 0.0
    parts: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, estimate: object) -> StandardError | None:
        """The standard error that an estimate carries; None if it has none, or one that is not finite."""
        error = getattr(estimate, "error", None)
        degrees = int(getattr(estimate, "degrees", 1))
        if not isinstance(error, float | int) or not math.isfinite(error) or error < 0 or degrees < 1:
            return None
        parts = tuple(tuple(map(float, sample)) for sample in getattr(estimate, "parts", ()))
        if not all(math.isfinite(value) for sample in parts for value in sample):
            parts = ()
        return cls(float(error), degrees, float(getattr(estimate, "resolution", 0.0)), parts)

    def as_dict(self) -> dict[str, Any]:
        """The standard error as plain JSON data."""
        return {**asdict(self), "parts": [list(sample) for sample in self.parts]}

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> StandardError:
        """The standard error from the data that ``as_dict`` returned."""
        return cls(**{**data, "parts": tuple(tuple(sample) for sample in data["parts"])})

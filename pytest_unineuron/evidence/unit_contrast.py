"""How the units of a model compare with those of a control, and profiles over layers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Profile = tuple[tuple[int, float | None], ...]
"""The number of each layer and its value; None where a layer has none."""


@dataclass(frozen=True)
class UnitContrast:
    """The probability that a unit of the model has a larger value than a unit of the same layer of a control.

    The mean over layers, ties counting half (Vargha and Delaney 2000): 0.5 means no difference. ``low`` and ``high``
    are the ends of a 95 % interval made by ``method``, ``p`` the one-sided p-value of the claim, and ``profile`` has
    the probability in each layer. ``value`` is None if no layer has units of both.
    """

    value: float | None
    low: float | None
    high: float | None
    method: str
    p: float | None = None
    profile: Profile = ()

    def as_dict(self) -> dict[str, Any]:
        """The contrast as plain JSON data."""
        return {**asdict(self), "profile": profile_data(self.profile)}

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> UnitContrast:
        """The contrast from the data that ``as_dict`` returned."""
        return cls(**{**data, "profile": profile_of(data["profile"])})


def profile_data(profile: Profile) -> list[list[int | float | None]]:
    """A profile as plain JSON data: pairs of layer and value."""
    return [[layer, value] for layer, value in profile]


def profile_of(pairs: Iterable[Sequence[Any]]) -> Profile:
    """The profile in pairs of layer and value."""
    return tuple((int(layer), None if value is None else float(value)) for layer, value in pairs)

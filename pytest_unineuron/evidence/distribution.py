"""How a statistic is distributed over the units of a model, or of a control of it: as quantiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_unineuron.evidence.case import Case

if TYPE_CHECKING:
    from collections.abc import Mapping


class LayerQuantiles(NamedTuple):
    """The quantiles at 5, 25, 50, 75 and 95 % of the units of a layer, or of all where ``layer`` is None.

    ``units`` is the number of units that have the statistic; there are no quantiles if none has.
    """

    layer: int | None
    units: int
    quantiles: tuple[float, ...]


@dataclass(frozen=True)
class OfArm:
    """Something about one arm on one corpus.

    ``corpus`` is empty for what was read from weights, ``control`` for the model itself.
    """

    model: str
    corpus: str
    control: str
    draw: int

    @property
    def arm(self) -> str:
        """The control with its draw, as in the ids of items; empty for the model itself."""
        return Case(self.model, control=self.control, draw=self.draw).arm if self.control else ""

    @property
    def label(self) -> str:
        """The control with its draw; the model for the model itself."""
        return self.arm or self.model


@dataclass(frozen=True)
class Distribution(OfArm):
    """One statistic of the units of one arm on one corpus, over all layers and then in each."""

    statistic: str
    rows: tuple[LayerQuantiles, ...]

    def as_dict(self) -> dict[str, Any]:
        """The distribution as plain JSON data: a row is the layer, the number of units, and the quantiles."""
        return {**vars(self), "rows": [[row.layer, row.units, *row.quantiles] for row in self.rows]}

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> Distribution:
        """The distribution from the data that ``as_dict`` returned."""
        rows = tuple(LayerQuantiles(layer, units, tuple(found)) for layer, units, *found in data["rows"])
        return cls(**{**data, "rows": rows})

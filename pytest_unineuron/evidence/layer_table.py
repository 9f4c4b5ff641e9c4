"""A table with rows for the layers of a model: roles by depth, matches between layers, best partners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.distribution import OfArm

if TYPE_CHECKING:
    from collections.abc import Mapping

ROLES, MATCHES, PARTNERS = "roles", "matches", "partners"
"""What tables are of: the share of each layer's neurons that have a role; how many universal neurons of a layer have
their best match in each layer of a seed, over all seeds; and the most universal neurons, each with its best partner."""


@dataclass(frozen=True)
class LayerTable(OfArm):
    """One table of one arm on one corpus.

    ``columns`` names the values that follow the number of the layer in every row.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def as_dict(self) -> dict[str, Any]:
        """The table as plain JSON data."""
        return {**vars(self), "columns": list(self.columns), "rows": list(map(list, self.rows))}

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> LayerTable:
        """The table from the data that ``as_dict`` returned."""
        return cls(**{**data, "columns": tuple(data["columns"]), "rows": tuple(map(tuple, data["rows"]))})

"""An item that pytest collected: a trial on one case."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.case import Case
from pytest_unineuron.evidence.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class PlannedItem:
    """One collected item: its trial, its case, and whether it was selected to run.

    ``line`` is where its function begins, from 1; ``code`` is a digest of all the source that it runs.
    """

    nodeid: str
    trial: Trial
    case: Case
    selected: bool = True
    line: int = 0
    code: str = ""

    @property
    def subject(self) -> tuple[Trial, Case]:
        """The trial and the case of the model itself, which the item has in common with all other arms."""
        return self.trial, replace(self.case, control="", draw=1)

    def as_dict(self) -> dict[str, Any]:
        """The item as plain data, for the channel from a worker to the controller."""
        return {
            "nodeid": self.nodeid,
            "trial": self.trial.as_dict(),
            "case": self.case.as_dict(),
            "selected": self.selected,
            "line": self.line,
            "code": self.code,
        }

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> PlannedItem:
        """The item from the data that ``as_dict`` returned."""
        return cls(**{**data, "trial": Trial.of_dict(data["trial"]), "case": Case(**data["case"])})

"""One trial on one model, one corpus and one arm: the unit that pytest runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

SUBJECT = "subject"
"""The arm that is not a control: the model under test itself."""


@dataclass(frozen=True)
class Case:
    """Where a trial is measured. ``corpus`` is empty for a trial that reads weights only.

    ``control`` is empty for the model under test itself; ``draw`` numbers the draws of a control from 1; ``variant``
    identifies the other parameters of a parametrized test function.
    """

    model: str
    corpus: str = ""
    control: str = ""
    draw: int = 1
    variant: str = ""

    @property
    def arm(self) -> str:
        """``subject``, or the control with its draw: ``untrained``, ``untrained.2``."""
        if not self.control:
            return SUBJECT
        return self.control if self.draw == 1 else f"{self.control}.{self.draw}"

    @property
    def id(self) -> str:
        """The id in brackets after the name of the test: ``neox-a-news~untrained``."""
        place = "-".join(part for part in (self.model, self.corpus) if part)
        return place if self.arm == SUBJECT else f"{place}~{self.arm}"

    def arms(self, controls: tuple[str, ...], draws: int) -> list[Case]:
        """This case and ``draws`` draws of each control, in the order in which they run."""
        return [self, *(replace(self, control=c, draw=d) for c in controls for d in range(1, draws + 1))]

    def as_dict(self) -> dict[str, Any]:
        """The case as plain data, for the report and for the channel from a worker to the controller."""
        return asdict(self)

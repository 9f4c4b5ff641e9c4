"""The three criteria: the only list of them, from which markers, summary and reports are derived."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Criterion:
    """One question of the checklist. ``key`` is its name in the summary JSON."""

    id: str
    key: str
    title: str
    question: str

    @property
    def marker(self) -> str:
        """The pytest marker of trials that test this criterion: ``gt1``."""
        return self.id.lower()


GT1 = Criterion("GT1", "GT1_ModelGeneralization", "new model", "Does the finding hold in a model nobody studied?")
GT2 = Criterion("GT2", "GT2_DataGeneralization", "new data", "Does it hold on text nobody measured it on?")
GT3 = Criterion("GT3", "GT3_MethodGeneralization", "new component", "Does the method tell signal from null elsewhere?")

CRITERIA = {criterion.id: criterion for criterion in (GT1, GT2, GT3)}

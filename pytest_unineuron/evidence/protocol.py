"""The criteria by the protocol that they come from, as published: MechEvalAgent (arXiv 2602.18458).

It allows at most three tries for a criterion, of which one has to succeed, and wants units outside of the finding not
to meet the criterion trivially.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.verdict import Verdict, overall_verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_unineuron.evidence.records import Evidence

MAX_TRIES = 3


def protocol_verdict(outcomes: Iterable[Outcome]) -> Verdict:
    """The verdict on a criterion from the outcomes of its tries.

    One success is enough. A try that a control passes too is no success, as units outside of the finding meet the
    criterion. Without a success the verdict is FAIL, and NA if no try came to a result.

    >>> protocol_verdict([Outcome.FAIL, Outcome.VACUOUS, Outcome.PASS])
    <Verdict.PASS: 'PASS'>
    """
    found = set(outcomes)
    if Outcome.PASS in found:
        return Verdict.PASS
    return Verdict.FAIL if found & {Outcome.FAIL, Outcome.VACUOUS} else Verdict.NA


@dataclass(frozen=True)
class ProtocolRecord:
    """One criterion by the protocol: for every model the tries that count, with their outcomes."""

    tries: Mapping[str, Mapping[str, Outcome]]
    voided: bool = False
    """Whether the run is not as it was locked, so that nothing passes."""

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict on every model."""
        found = {model: protocol_verdict(tried.values()) for model, tried in self.tries.items()}
        return {model: Verdict.NA if self.voided and v is Verdict.PASS else v for model, v in found.items()}

    @property
    def verdict(self) -> Verdict:
        """The verdict over all models."""
        return overall_verdict(self.verdicts.values())

    @property
    def words(self) -> dict[str, str]:
        """The verdict on every model with the number of successes: ``PASS, 2 of 3 tries``."""
        successes = {model: list(tried.values()).count(Outcome.PASS) for model, tried in self.tries.items()}
        return {
            model: f"{v}, {successes[model]} of {len(self.tries[model])} tries" for model, v in self.verdicts.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """The record as plain JSON data."""
        tries = {model: {name: str(outcome) for name, outcome in tried.items()} for model, tried in self.tries.items()}
        verdicts = self.verdicts.items()
        return {
            "verdict": str(self.verdict),
            "subjects": {model: {"verdict": str(v), "tries": tries[model]} for model, v in verdicts},
        }


def by_protocol(evidence: Evidence) -> dict[str, ProtocolRecord]:
    """Every criterion by the protocol, if it was asked for beside the policy; else nothing."""
    if not evidence.settings.get("protocol"):
        return {}
    return {
        id_: ProtocolRecord(
            {model: _tries(evidence, id_, model) for model in evidence.asked_of(id_)}, bool(evidence.violations)
        )
        for id_ in CRITERIA
    }


def _tries(evidence: Evidence, criterion: str, model: str) -> dict[str, Outcome]:
    """The first trials that apply and ran, at most three. Primary ones come first, as they were named beforehand."""
    records = sorted(evidence.of_criterion(criterion), key=lambda record: not record.trial.primary)
    on_model = [(record.name, record.on(model)) for record in records]
    ran = [
        (name, subject.outcome)
        for name, subject in on_model
        if subject is not None and not subject.not_applicable and subject.outcome is not Outcome.NOT_RUN
    ]
    return dict(ran[:MAX_TRIES])

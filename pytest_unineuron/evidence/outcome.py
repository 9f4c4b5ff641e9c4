"""From what was measured to what it means: per arm, per case with its controls, per trial on one subject."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.measurement import BoundStatus, Measurement, format_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Outcome(StrEnum):
    """What can come of a trial. Only PASS supports a criterion and only FAIL counts against it."""

    PASS = "PASS"
    FAIL = "FAIL"
    VACUOUS = "VACUOUS"
    NA = "NA"
    ERROR = "ERROR"
    NOT_RUN = "NOT_RUN"


class ControlStatus(StrEnum):
    """What a control arm did with the claim: it should miss."""

    MISSED = "missed"
    NEAR = "near"
    HELD = "held"
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class ArmResult:
    """One arm of one case, run to its end or not: its outcome, why, and everything it measured.

    ``made_from`` names the models and corpora it rests on, with a digest each. ``resumed`` says that an earlier
    attempt measured it. ``nodeid`` is pytest's name of the item, by which it can be run again.
    """

    outcome: Outcome
    reason: str = ""
    measurements: tuple[Measurement, ...] = ()
    duration: float = 0.0
    notes: tuple[str, ...] = ()
    made_from: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    resumed: bool = False
    nodeid: str = ""

    @property
    def control_status(self) -> ControlStatus:
        """How a control with this result stands: it held if it passed, and is near if it broke a limit for controls.

        A control that measured something and could not pass has missed, also where what the trial needs was
        not there: an effect that cannot even be counted is not shown.
        """
        if self.outcome is Outcome.PASS:
            return ControlStatus.HELD
        if any(m.exceeds_control_limit for m in self.measurements):
            return ControlStatus.NEAR
        finished = self.outcome is Outcome.FAIL or (self.outcome is Outcome.NA and bool(self.measurements))
        return ControlStatus.MISSED if finished else ControlStatus.UNFINISHED

    @property
    def p(self) -> float | None:
        """The p-value of the claim as a whole, the largest of its parts'; None if no part has one."""
        return max((m.p for m in self.measurements if m.p is not None), default=None)

    def at_least_as_extreme(self, claimed: Sequence[Measurement]) -> bool:
        """Whether this arm measured all of these, and each at least as far beyond its bound."""
        own = {m.name: m.value for m in self.measurements}
        found = [(own.get(m.name), m) for m in claimed]
        return bool(found) and all(value is not None and m.reached_by(value) for value, m in found)

    @property
    def exceeded_limits(self) -> str:
        """What a control measured beyond the limits set for controls."""
        return "; ".join(
            f"{m.name} = {format_number(m.value)}, beyond the {format_number(m.null)} allowed for controls"
            for m in self.measurements
            if m.exceeds_control_limit
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "outcome": str(self.outcome),
            "reason": self.reason,
            "measurements": [m.as_dict() for m in self.measurements],
            "duration": round(self.duration, 3),
            "notes": list(self.notes),
            "made_from": {kind: dict(digests) for kind, digests in self.made_from.items()},
            "resumed": self.resumed,
            "nodeid": self.nodeid,
        }

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> ArmResult:
        """The result that ``as_dict`` wrote."""
        return cls(
            outcome=Outcome(data["outcome"]),
            reason=data["reason"],
            measurements=tuple(Measurement.of_dict(m) for m in data["measurements"]),
            duration=data["duration"],
            notes=tuple(data["notes"]),
            made_from=data["made_from"],
            resumed=data["resumed"],
            nodeid=data["nodeid"],
        )


MIN_DRAWS = 19
"""Draws of a control from which a permutation p-value can reach 0.05."""

EXPECTED_TO_FAIL = "expected to fail"
"""The note of an arm that is marked xfail and does fail."""

NEVER_REACHED = ArmResult(Outcome.NOT_RUN, "never reached")
DESELECTED = ArmResult(Outcome.NOT_RUN, "deselected")


def judge(measurements: Sequence[Measurement]) -> tuple[Outcome, str]:
    """The outcome of an arm whose body ran to its end, and why: every miss is named, not only the first."""
    judged = [m for m in measurements if m.claimed]
    if not judged:
        return Outcome.ERROR, "nothing was judged: call measure(name, value, above=… or below=…)"
    misses = [str(m) for m in judged if m.bound_status is BoundStatus.MISSES]
    if misses:
        return Outcome.FAIL, "missed: " + "; ".join(misses)
    undefined = [str(m) for m in judged if m.bound_status is BoundStatus.UNDEFINED]
    if undefined:
        return Outcome.NA, "undefined: " + "; ".join(undefined)
    unclear = [str(m) for m in judged if m.bound_status is BoundStatus.UNCLEAR]
    if unclear:
        return Outcome.NA, "too close to call: " + "; ".join(unclear)
    return Outcome.PASS, "; ".join(str(m) for m in judged)


@dataclass(frozen=True)
class CaseResult:
    """One case with all its arms, and what they come to together."""

    arms: Mapping[str, ArmResult]
    subject: ArmResult = field(default=NEVER_REACHED)

    @property
    def held(self) -> tuple[str, ...]:
        """The controls on which the claim holds too."""
        return self._controls(ControlStatus.HELD)

    @property
    def near(self) -> tuple[str, ...]:
        """The controls that miss the claim, but not by the margin it asks for."""
        return self._controls(ControlStatus.NEAR)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The controls that were planned and say nothing."""
        return self._controls(ControlStatus.UNFINISHED)

    @property
    def permutation_p_values(self) -> dict[str, float]:
        """For each control, the permutation p-value of the claim: how often a draw of it does as well as the subject.

        As well means as far out in every measurement that is claimed. (1 + such draws) / (1 + finished draws), so
        it cannot be below what the number of draws allows: one draw says little, nineteen can say 0.05.
        """
        claimed = [m for m in self.subject.measurements if m.value is not None and m.claimed]
        finished: dict[str, list[ArmResult]] = {}
        for name, arm in self.arms.items():
            if arm.control_status is not ControlStatus.UNFINISHED:
                finished.setdefault(name.partition(".")[0], []).append(arm)
        return {
            name: (1 + sum(arm.at_least_as_extreme(claimed) for arm in draws)) / (1 + len(draws))
            for name, draws in finished.items()
            if claimed
        }

    @property
    def p(self) -> float | None:
        """The p-value of the case: that of its intervals, and that against controls drawn often enough to tell."""
        draws = [arm.partition(".")[0] for arm in self.arms]
        told = [p for name, p in self.permutation_p_values.items() if draws.count(name) >= MIN_DRAWS]
        return max((p for p in (self.subject.p, *told) if p is not None), default=None)

    def outcome(self, *, accept_vacuous: bool = False) -> tuple[Outcome, str]:
        """The outcome of the case and its reason.

        A claim that a control shows too is VACUOUS whatever the subject measured, and so is one that passes
        while a control comes nearer than the claim allows; a claim without a finished control, or with a
        planned control that did not finish, cannot PASS.
        """
        own = self.subject.outcome
        if own in (Outcome.ERROR, Outcome.NOT_RUN):
            return own, self.subject.reason
        if self.held and not accept_vacuous:
            first, *others = self.held
            also = f" (and {', '.join(others)})" if others else ""
            return Outcome.VACUOUS, f"{first} shows it too{also}: {self.arms[first].reason}"
        if own is Outcome.PASS and self.near and not accept_vacuous:
            return Outcome.VACUOUS, f"{self.near[0]} comes too near: {self.arms[self.near[0]].exceeded_limits}"
        if own is Outcome.NA:
            return own, self.subject.reason
        if len(self.unfinished) == len(self.arms):
            return Outcome.NA, f"uncontrolled: no control finished; {self.subject.reason}"
        if own is Outcome.PASS and self.unfinished:
            return Outcome.NA, f"uncontrolled: {', '.join(self.unfinished)} did not finish; {self.subject.reason}"
        return own, self.subject.reason

    def _controls(self, standing: ControlStatus) -> tuple[str, ...]:
        return tuple(name for name, arm in self.arms.items() if arm.control_status is standing)


WORST_FIRST = (Outcome.FAIL, Outcome.ERROR, Outcome.VACUOUS, Outcome.NOT_RUN, Outcome.NA, Outcome.PASS)


def worst_outcome(outcomes: Iterable[Outcome]) -> Outcome:
    """A trial on one subject passes when every case of it does; otherwise it is the worst that came.

    >>> together([Outcome.PASS, Outcome.NA])
    <Outcome.NA: 'NA'>
    """
    seen = set(outcomes)
    return next((outcome for outcome in WORST_FIRST if outcome in seen), Outcome.NOT_RUN)

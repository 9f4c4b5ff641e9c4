"""From measurements to outcomes: of an arm, of a case with its controls, of a trial on one model."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.contrast import Contrast, contrasts
from pytest_unineuron.evidence.measurement import WEAKEST_FIRST, BoundStatus, Measurement, format_number
from pytest_unineuron.evidence.reaches import reaches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Outcome(StrEnum):
    """The result of a trial. Only PASS supports a criterion and only FAIL counts against it."""

    PASS = "PASS"
    FAIL = "FAIL"
    VACUOUS = "VACUOUS"
    NA = "NA"
    ERROR = "ERROR"
    NOT_RUN = "NOT_RUN"


class ControlStatus(StrEnum):
    """How the claim fared on a control arm, where it should miss its bound, or with which the model is compared."""

    MISSED = "missed"
    COMPARED = "compared"
    NEAR = "near"
    HELD = "held"
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class ArmResult:
    """The result of one arm of a case: its outcome with the reason, and everything it measured.

    ``made_from`` holds digests of the models and corpora that were read, by label. ``nodeid`` is pytest's name of the
    item, by which it can be run again.
    """

    outcome: Outcome
    reason: str = ""
    measurements: tuple[Measurement, ...] = ()
    duration: float = 0.0
    notes: tuple[str, ...] = ()
    made_from: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    nodeid: str = ""

    @property
    def control_status(self) -> ControlStatus:
        """How the claim fared, if this is a control: it held if it passed, and is near if it broke a control limit.

        A claim to lie beyond the controls cannot hold on one; the model is compared with it. A control that is NA has
        missed as well if an effect is too rare there to be counted, or too small to be clear: it is not shown. One that
        was skipped, or whose claimed value is undefined or lacks the interval that was asked for, says nothing.
        """
        compared = any(m.compared for m in self.measurements)
        if self.outcome is Outcome.PASS and not compared:
            return ControlStatus.HELD
        if any(m.exceeds_control_limit for m in self.measurements):
            return ControlStatus.NEAR
        if self.outcome in (Outcome.PASS, Outcome.FAIL) and compared:
            return ControlStatus.COMPARED
        finished = self.outcome is Outcome.FAIL or (self.outcome is Outcome.NA and self._is_not_shown)
        return ControlStatus.MISSED if finished else ControlStatus.UNFINISHED

    @property
    def _is_not_shown(self) -> bool:
        """Whether a minimum is not met, or the body came to its end with a claim too close to call and none unknown.

        Whether a claim to lie beyond the control is unknown is for the comparison to say.
        """
        judged = self.reason.startswith(tuple(f"{word}: " for *_, word in JUDGMENTS))
        claimed = [m for m in self.measurements if m.claimed]
        unknown = any(m.bound_status is BoundStatus.UNDEFINED or m.lacks_interval for m in claimed if not m.compared)
        unclear = any(m.compared or (judged and m.bound_status is BoundStatus.UNCLEAR) for m in claimed)
        return self.is_scarce or (unclear and not unknown)

    @property
    def is_scarce(self) -> bool:
        """Whether a minimum is not met, so that there is nothing to measure."""
        return any(m.needed and m.bound_status is BoundStatus.MISSES for m in self.measurements)

    @property
    def p_value(self) -> float | None:
        """The p-value of the whole claim, the largest of its measurements; None without any."""
        return max((m.p for m in self.measurements if m.p is not None), default=None)

    @property
    def exceeded_limits(self) -> str:
        """The measurements beyond the limit for controls, with the limit."""
        return "; ".join(
            f"{m.name} = {format_number(m.value, m.null)}, beyond the {format_number(m.null)} allowed for controls"
            for m in self.measurements
            if m.exceeds_control_limit
        )

    def as_dict(self) -> dict[str, Any]:
        """The result as plain JSON data."""
        return {
            "outcome": str(self.outcome),
            "reason": self.reason,
            "measurements": [m.as_dict() for m in self.measurements],
            "duration": round(self.duration, 3),
            "notes": list(self.notes),
            "made_from": {kind: dict(digests) for kind, digests in self.made_from.items()},
            "nodeid": self.nodeid,
        }

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> ArmResult:
        """The result from the data that ``as_dict`` returned."""
        return cls(
            outcome=Outcome(data["outcome"]),
            reason=data["reason"],
            measurements=tuple(Measurement.of_dict(m) for m in data["measurements"]),
            duration=data["duration"],
            notes=tuple(data["notes"]),
            made_from=data["made_from"],
            nodeid=data["nodeid"],
        )


MIN_DRAWS = 19
"""The number of draws of a control from which a permutation p-value can be as small as 0.05."""

EXPECTED_TO_FAIL = "expected to fail"
"""The note of an arm that is marked xfail and fails."""
NOT_APPLICABLE = "not applicable"
"""The note of an arm whose question does not apply to its model."""

NEVER_REACHED = ArmResult(Outcome.NOT_RUN, "never reached")
DESELECTED = ArmResult(Outcome.NOT_RUN, "deselected")

JUDGMENTS = (
    (BoundStatus.MISSES, Outcome.FAIL, "missed"),
    (BoundStatus.UNDEFINED, Outcome.NA, "undefined"),
    (BoundStatus.UNCLEAR, Outcome.NA, "too close to call"),
)
"""The outcome of an arm with a claimed measurement of a status, and the word for it; the first that applies counts."""


def judge(measurements: Sequence[Measurement]) -> tuple[Outcome, str]:
    """The outcome of an arm whose body ran to its end, and a reason that names every measurement behind it."""
    claimed = [m for m in measurements if m.claimed]
    if not claimed:
        return Outcome.ERROR, "nothing was judged: call measure(name, value, higher_by=…), or with above=… or below=…"
    for status, outcome, word in JUDGMENTS:
        if found := [str(m) for m in claimed if m.bound_status is status]:
            return outcome, f"{word}: {'; '.join(found)}"
    return Outcome.PASS, "; ".join(map(str, claimed))


@dataclass(frozen=True)
class CaseResult:
    """The results of all arms of one case: the controls by name, and the subject.

    ``declared`` are the controls that the trial declares; without any, those that were planned.
    """

    arms: Mapping[str, ArmResult]
    subject: ArmResult = field(default=NEVER_REACHED)
    declared: tuple[str, ...] = ()

    def controls(self, status: ControlStatus) -> tuple[str, ...]:
        """The names of the control arms with this status."""
        return tuple(name for name, arm in self.arms.items() if arm.control_status is status)

    @cached_property
    def contrasts(self) -> tuple[Contrast, ...]:
        """The subject's measurements against those of every control that finished, where the claim compares them."""
        finished = {name: arm for name, arm in self.arms.items() if arm.control_status is not ControlStatus.UNFINISHED}
        measurements = {name: arm.measurements for name, arm in finished.items()}
        # Unless it had too little of an effect to go on, it has to have made all comparisons, however it ended.
        ended = [name for name, arm in finished.items() if not arm.is_scarce]
        return tuple(contrasts(self.subject.measurements, measurements, ended))

    @property
    def permutation_p_values(self) -> dict[str, float]:
        """For each control, the permutation p-value of the claim: (1 + k) / (1 + n).

        n is the number of finished draws of the control, k that of draws at least as extreme as the subject in every
        claimed measurement (Phipson and Smyth 2010). The smallest possible value is 1 / (1 + n): 0.05 for 19 draws.
        """
        finished: dict[str, list[str]] = {}
        for name, arm in self.arms.items():
            if arm.control_status is not ControlStatus.UNFINISHED:
                finished.setdefault(_control_of(name), []).append(name)
        return {
            control: (1 + sum(map(self._reaches, draws))) / (1 + len(draws))
            for control, draws in finished.items()
            if any(m.value is not None and m.claimed for m in self.subject.measurements)
        }

    def _reaches(self, arm: str) -> bool:
        """Whether an arm measured all that is claimed, and each at least as far on the claimed side."""
        found = [c for c in self.contrasts if c.control == arm]
        return reaches(self.arms[arm].measurements, self.subject.measurements, found)

    @property
    def p_value(self) -> float | None:
        """The largest p-value: the subject's, those against controls, and permutation p-values of enough draws."""
        draws = [_control_of(arm) for arm in self.arms]
        permuted = [p for control, p in self.permutation_p_values.items() if draws.count(control) >= MIN_DRAWS]
        against = [contrast.p for contrast in self.contrasts]
        return max((p for p in (self.subject.p_value, *against, *permuted) if p is not None), default=None)

    def outcome(self, *, accept_vacuous: bool = False) -> tuple[Outcome, str]:
        """The outcome of the case and its reason.

        A claim that also holds on a control is VACUOUS whatever the subject measured, and so is one that passes while
        a control is nearer than its limit allows. A claim to lie beyond the controls is FAIL if it misses one of them.
        Without a finished control, or against fewer controls than the trial declares, a claim cannot PASS.
        """
        own, reason = self.subject.outcome, self.subject.reason
        if own in (Outcome.ERROR, Outcome.NOT_RUN):
            return own, reason
        if not accept_vacuous and (vacuous := self._vacuous):
            return Outcome.VACUOUS, vacuous
        unfinished = self.controls(ControlStatus.UNFINISHED)
        if own is Outcome.NA:
            return own, reason
        if len(unfinished) == len(self.arms):
            return Outcome.NA, f"uncontrolled: no control finished; {reason}"
        if own is not Outcome.PASS:
            return own, reason
        against, found = self._against_controls
        if against is not Outcome.FAIL and (fewer := self._fewer_controls(unfinished)):
            return Outcome.NA, f"{fewer}; {reason}"
        if against is own and (level := self._level_control):
            return Outcome.NA, f"{level} reaches the model, if not clearly: {self.arms[level].reason}"
        return (own, "; ".join(filter(None, (reason, found)))) if against is own else (against, found)

    @property
    def _against_controls(self) -> tuple[Outcome, str]:
        """The outcome of all contrasts, and the reason: those that decide it, or the nearest of each measurement."""
        for status, outcome, word in JUDGMENTS:
            if found := [str(c) for c in self.contrasts if c.status is status]:
                return outcome, f"{word.replace('missed', 'not beyond its controls')}: {'; '.join(found)}"
        return Outcome.PASS, "; ".join(f"nearest control: {contrast}" for contrast in self.nearest.values())

    @property
    def nearest(self) -> dict[str, Contrast]:
        """The contrast with the nearest control, by measurement: of the weakest status, and the least margin."""
        nearest: dict[str, Contrast] = {}
        for contrast in sorted(self.contrasts, key=lambda each: (WEAKEST_FIRST.index(each.status), each.margin)):
            nearest.setdefault(contrast.measurement, contrast)
        return nearest

    @property
    def _level_control(self) -> str:
        """A control that is too close to call, and at least as extreme as the subject in all that is claimed."""
        unclear = (name for name, arm in self.arms.items() if arm.outcome is Outcome.NA and not arm.is_scarce)
        return next(filter(self._reaches, unclear), "")

    def _fewer_controls(self, unfinished: Sequence[str]) -> str:
        """How many of its controls the case was held against, and which; empty if it was all of them."""
        wanted = dict.fromkeys((*self.declared, *map(_control_of, self.arms)))
        lost = {_control_of(arm) for arm in unfinished}
        finished = [name for name in wanted if name not in lost and name in map(_control_of, self.arms)]
        if len(finished) == len(wanted):
            return ""
        ended = f"; without {', '.join(unfinished)}" if unfinished else ""
        return f"against {len(finished)} of {len(wanted)} controls: {', '.join(finished) or 'none'}{ended}"

    @property
    def _vacuous(self) -> str:
        """The reason why the claim is vacuous; empty if it is not."""
        if held := self.controls(ControlStatus.HELD):
            also = f" (and {', '.join(held[1:])})" if held[1:] else ""
            return f"{held[0]} shows it too{also}: {self.arms[held[0]].reason}"
        near = self.controls(ControlStatus.NEAR)
        if near and self.subject.outcome is Outcome.PASS:
            return f"{near[0]} comes too near: {self.arms[near[0]].exceeded_limits}"
        return ""


def _control_of(arm: str) -> str:
    """The control of an arm, without the number of its draw."""
    return arm.partition(".")[0]


WORST_CONTROL_FIRST = tuple(map(ControlStatus, ("held", "near", "unfinished", "compared", "missed")))
WORST_FIRST = (Outcome.FAIL, Outcome.ERROR, Outcome.VACUOUS, Outcome.NOT_RUN, Outcome.NA, Outcome.PASS)


def worst_outcome(outcomes: Iterable[Outcome]) -> Outcome:
    """The worst of the outcomes, so that a trial passes only if all its cases do; NOT_RUN if there are none.

    >>> worst_outcome([Outcome.PASS, Outcome.NA])
    <Outcome.NA: 'NA'>
    """
    return min(outcomes, key=WORST_FIRST.index, default=Outcome.NOT_RUN)

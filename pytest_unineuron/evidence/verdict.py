"""The verdict on a criterion, from the outcomes of its trials and a policy: pure functions, tested exhaustively."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.options.settings import POLICIES

if TYPE_CHECKING:
    from collections.abc import Iterable


class Verdict(StrEnum):
    """The verdict on a criterion."""

    PASS = "PASS"
    FAIL = "FAIL"
    NA = "NA"


def criterion_verdict(trials: Iterable[tuple[Outcome, bool]], policy: str) -> Verdict:
    """The verdict on one criterion for one model, from (outcome, is it primary) of each trial.

    Under ``primary``, the verdict is PASS if every primary trial passes, FAIL if one fails, and NA otherwise; if no
    trial is primary, ``all`` applies. Under ``all``, it is FAIL if a trial fails and PASS if one passes and none fails;
    under ``majority``, PASS if more trials pass than fail; under ``any``, PASS if one passes. Only PASS and FAIL count:
    without either, the verdict is NA. Raises ValueError for an unknown policy.

    >>> criterion_verdict([(Outcome.PASS, False), (Outcome.VACUOUS, False)], "all")
    <Verdict.PASS: 'PASS'>
    """
    pairs = list(trials)
    primary = [outcome for outcome, is_primary in pairs if is_primary]
    policy = effective_policy(policy, bool(primary))
    if policy == "primary":
        if Outcome.FAIL in primary:
            return Verdict.FAIL
        return Verdict.PASS if set(primary) == {Outcome.PASS} else Verdict.NA
    passes = sum(outcome is Outcome.PASS for outcome, _ in pairs)
    fails = sum(outcome is Outcome.FAIL for outcome, _ in pairs)
    if passes + fails == 0:
        return Verdict.NA
    supported = {"majority": passes > fails, "any": passes > 0}.get(policy, fails == 0)
    return Verdict.PASS if supported else Verdict.FAIL


def effective_policy(policy: str, has_primary: bool) -> str:
    """The policy that applies: ``primary`` needs a primary trial, and ``all`` applies where there is none.

    Raises ValueError for an unknown policy.
    """
    if policy not in POLICIES:
        raise ValueError(f"policy {policy!r} is not one of {', '.join(POLICIES)}")
    return "all" if policy == "primary" and not has_primary else policy


def overall_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict over models: FAIL if any is FAIL, else PASS if any is PASS; NA models were not evaluated.

    >>> [overall_verdict(v) for v in ([Verdict.PASS, Verdict.NA], [Verdict.PASS, Verdict.FAIL], [])]
    [<Verdict.PASS: 'PASS'>, <Verdict.FAIL: 'FAIL'>, <Verdict.NA: 'NA'>]
    """
    seen = set(verdicts)
    return next((v for v in (Verdict.FAIL, Verdict.PASS) if v in seen), Verdict.NA)

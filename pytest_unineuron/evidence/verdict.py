"""Outcomes and a policy make a verdict. A pure function, small enough to be tested exhaustively."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from pytest_unineuron.evidence.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

POLICIES = ("primary", "all", "majority", "any")
"""How trials make a criterion. ``primary`` is the default; the others count every discriminating trial alike."""


class Verdict(StrEnum):
    """What a checklist line says."""

    PASS = "PASS"
    FAIL = "FAIL"
    NA = "NA"


def criterion_verdict(trials: Iterable[tuple[Outcome, bool]], policy: str) -> Verdict:
    """The verdict on one criterion for one subject, from (outcome, is it primary) of each trial.

    ``primary``: PASS when every primary trial passes, FAIL when one fails, else NA; ``all`` if none is primary.
    ``all``: FAIL when one fails, PASS when one passes and none fails. ``majority``: PASS when more pass than
    fail. ``any``: PASS when one passes. Only PASS and FAIL count: with neither, the verdict is NA.
    Raises ValueError for another policy.

    >>> verdict([(Outcome.PASS, False), (Outcome.VACUOUS, False)], "all")
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
    """The policy that decides: ``primary`` needs a primary trial and is ``all`` without one.

    Raises ValueError for a policy that does not exist.
    """
    if policy not in POLICIES:
        raise ValueError(f"policy {policy!r} is not one of {', '.join(POLICIES)}")
    return "all" if policy == "primary" and not has_primary else policy


def overall_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict over subjects: PASS when it does for every subject it was evaluated on; NA is not evaluated.

    >>> overall([Verdict.PASS, Verdict.NA]), overall([Verdict.PASS, Verdict.FAIL]), overall([])
    (<Verdict.PASS: 'PASS'>, <Verdict.FAIL: 'FAIL'>, <Verdict.NA: 'NA'>)
    """
    seen = set(verdicts)
    return next((v for v in (Verdict.FAIL, Verdict.PASS) if v in seen), Verdict.NA)

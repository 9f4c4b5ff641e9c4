"""The verdict on a criterion, from the outcomes of its trials and a policy: pure functions, tested exhaustively."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.options.settings import POLICIES

if TYPE_CHECKING:
    from collections.abc import Iterable


class Verdict(StrEnum):
    """The verdict on a criterion."""

    PASS = "PASS"
    FAIL = "FAIL"
    NA = "NA"


class Support(StrEnum):
    """What a verdict rests on.

    Direct: universality itself, for which the model was compared with other seeds. Signature: what the paper found
    universal neurons to look like and to do, seen in the weights and activations of one model.
    """

    DIRECT = "direct"
    SIGNATURE = "signature"


class JudgedTrial(NamedTuple):
    """A trial on one model, as far as the verdict depends on it.

    ``direct`` trials compare seeds. A trial that does not ``apply`` to the model is left out.
    """

    outcome: Outcome
    primary: bool = False
    direct: bool = False
    applies: bool = True


def criterion_verdict(trials: Iterable[JudgedTrial], policy: str) -> Verdict:
    """The verdict on one criterion for one model.

    Under ``primary``, the verdict is PASS if every deciding trial passes, FAIL if one fails, and NA otherwise; if no
    trial is primary, ``all`` applies. Under ``all``, it is FAIL if a trial fails and PASS if one passes and none fails;
    under ``majority``, PASS if more trials pass than fail; under ``any``, PASS if one passes. Only PASS and FAIL count:
    without either, the verdict is NA. Raises ValueError for an unknown policy.

    >>> criterion_verdict([JudgedTrial(Outcome.PASS), JudgedTrial(Outcome.VACUOUS)], "all")
    <Verdict.PASS: 'PASS'>
    """
    trials = list(trials)
    outcomes = [trial.outcome for trial in deciding_trials(trials, policy)]
    passes, fails = outcomes.count(Outcome.PASS), outcomes.count(Outcome.FAIL)
    if passes + fails == 0:
        return Verdict.NA
    if effective_policy(policy, any(trial.primary for trial in trials)) == "primary":
        return Verdict.FAIL if fails else Verdict.PASS if passes == len(outcomes) else Verdict.NA
    supported = {"majority": passes > fails, "any": passes > 0}.get(policy, fails == 0)
    return Verdict.PASS if supported else Verdict.FAIL


def deciding_trials(trials: Iterable[JudgedTrial], policy: str) -> list[JudgedTrial]:
    """The trials that decide a criterion: under ``primary`` the primary ones, otherwise all that apply.

    Where primary trials compare seeds and apply, only those decide: what universal neurons look like matters less than
    whether there are any.
    """
    trials = list(trials)
    applicable = [trial for trial in trials if trial.applies]
    if effective_policy(policy, any(trial.primary for trial in trials)) != "primary":
        return applicable
    primary = [trial for trial in applicable if trial.primary]
    return [trial for trial in primary if trial.direct] or primary


def support_of(trials: Iterable[JudgedTrial], policy: str) -> Support | None:
    """What the verdict of these trials rests on; None for NA."""
    trials = list(trials)
    verdict = criterion_verdict(trials, policy)
    behind = [trial for trial in deciding_trials(trials, policy) if str(trial.outcome) == str(verdict)]
    if verdict is Verdict.NA:
        return None
    return Support.DIRECT if any(trial.direct for trial in behind) else Support.SIGNATURE


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

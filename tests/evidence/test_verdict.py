"""The verdict, exhaustively: every policy over every set of up to four trials."""

from itertools import combinations_with_replacement, product

import pytest

from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.verdict import POLICIES, Verdict, criterion_verdict, overall_verdict

TRIALS = list(product(Outcome, (False, True)))
SETS = [list(s) for size in range(4) for s in combinations_with_replacement(TRIALS, size)]


@pytest.mark.parametrize("policy", POLICIES)
def test_only_pass_and_fail_count(policy):
    """Taking away every trial that is neither PASS nor FAIL leaves the verdict, but for an undecided primary."""
    for trials in SETS:
        decided = [pair for pair in trials if pair[0] in (Outcome.PASS, Outcome.FAIL)]
        undecided_primary = any(primary for outcome, primary in trials if (outcome, primary) not in decided)
        if not (policy == "primary" and undecided_primary):
            assert criterion_verdict(trials, policy) is criterion_verdict(decided, policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_pass_needs_a_passing_trial_and_a_fail_a_failing_one(policy):
    """Nothing is made of silence."""
    for trials in SETS:
        outcomes = {outcome for outcome, _ in trials}
        found = criterion_verdict(trials, policy)
        assert found is not Verdict.PASS or Outcome.PASS in outcomes
        assert found is not Verdict.FAIL or Outcome.FAIL in outcomes


def test_all_passes_when_none_fails():
    """The strictest of the policies without primaries."""
    for trials in SETS:
        outcomes = [outcome for outcome, _ in trials]
        if criterion_verdict(trials, "all") is Verdict.PASS:
            assert Outcome.FAIL not in outcomes


def test_any_is_implied_by_majority_and_majority_by_all():
    """A policy that asks more never passes where one that asks less does not."""
    for trials in SETS:
        passes = [criterion_verdict(trials, policy) is Verdict.PASS for policy in ("all", "majority", "any")]
        assert passes == sorted(passes)


def test_primary_trials_decide_alone():
    """With a primary trial, the others change nothing."""
    for trials in SETS:
        primary = [pair for pair in trials if pair[1]]
        if primary:
            assert criterion_verdict(trials, "primary") is criterion_verdict(primary, "primary")
        else:
            assert criterion_verdict(trials, "primary") is criterion_verdict(trials, "all")


def test_an_unknown_policy_is_refused():
    """Rather than taken for one of the others."""
    with pytest.raises(ValueError, match="policy 'most' is not one of primary, all, majority, any"):
        criterion_verdict([], "most")


def test_overall_is_over_the_subjects_that_were_evaluated():
    """NA subjects are not counted; one FAIL is a FAIL."""
    for verdicts in product(Verdict, repeat=3):
        expected = next((v for v in (Verdict.FAIL, Verdict.PASS) if v in verdicts), Verdict.NA)
        assert overall_verdict(verdicts) is expected

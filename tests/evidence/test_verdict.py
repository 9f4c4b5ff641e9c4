"""The verdict for every policy over every set of up to three trials."""

from itertools import combinations_with_replacement, product

import pytest

from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.verdict import Verdict, criterion_verdict, overall_verdict
from pytest_unineuron.options.settings import POLICIES

TRIALS = list(product(Outcome, (False, True)))
SETS = [list(s) for size in range(4) for s in combinations_with_replacement(TRIALS, size)]


@pytest.mark.parametrize("policy", POLICIES)
def test_only_pass_and_fail_count(policy):
    """Without the trials that are neither PASS nor FAIL the verdict is the same, unless one of them is primary."""
    for trials in SETS:
        decided = [pair for pair in trials if pair[0] in (Outcome.PASS, Outcome.FAIL)]
        undecided_primary = any(primary for outcome, primary in trials if (outcome, primary) not in decided)
        if not (policy == "primary" and undecided_primary):
            assert criterion_verdict(trials, policy) is criterion_verdict(decided, policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_pass_needs_a_passing_trial_and_a_fail_a_failing_one(policy):
    """A verdict of PASS needs a trial that passes, and one of FAIL a trial that fails."""
    for trials in SETS:
        outcomes = {outcome for outcome, _ in trials}
        found = criterion_verdict(trials, policy)
        assert found is not Verdict.PASS or Outcome.PASS in outcomes
        assert found is not Verdict.FAIL or Outcome.FAIL in outcomes


def test_policy_all_never_passes_with_a_failing_trial():
    """Under the policy "all", a failing trial prevents PASS."""
    for trials in SETS:
        outcomes = [outcome for outcome, _ in trials]
        if criterion_verdict(trials, "all") is Verdict.PASS:
            assert Outcome.FAIL not in outcomes


def test_a_stricter_policy_passes_only_if_a_laxer_one_does():
    """A pass under "all" implies one under "majority", and that one under "any"."""
    for trials in SETS:
        passes = [criterion_verdict(trials, policy) is Verdict.PASS for policy in ("all", "majority", "any")]
        assert passes == sorted(passes)


def test_primary_trials_decide_alone():
    """Under the policy "primary" other trials change nothing, unless no trial is primary."""
    for trials in SETS:
        primary = [pair for pair in trials if pair[1]]
        if primary:
            assert criterion_verdict(trials, "primary") is criterion_verdict(primary, "primary")
        else:
            assert criterion_verdict(trials, "primary") is criterion_verdict(trials, "all")


def test_an_unknown_policy_is_refused():
    """The error names the policies."""
    with pytest.raises(ValueError, match="policy 'most' is not one of primary, all, majority, any"):
        criterion_verdict([], "most")


def test_models_that_are_na_do_not_count_in_the_overall_verdict():
    """The overall verdict is FAIL if a model fails, else PASS if one passes, else NA."""
    for verdicts in product(Verdict, repeat=3):
        expected = next((v for v in (Verdict.FAIL, Verdict.PASS) if v in verdicts), Verdict.NA)
        assert overall_verdict(verdicts) is expected

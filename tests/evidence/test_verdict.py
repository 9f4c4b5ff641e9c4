"""The verdict for every policy over every set of up to three trials."""

from itertools import combinations_with_replacement, product

import pytest

from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.verdict import (
    JudgedTrial,
    Support,
    Verdict,
    criterion_verdict,
    overall_verdict,
    support_of,
)
from pytest_unineuron.options.settings import POLICIES
from tests.evidence.made import arm, evidence, share

TRIALS = [JudgedTrial(outcome, primary) for outcome, primary in product(Outcome, (False, True))]
SETS = [list(s) for size in range(4) for s in combinations_with_replacement(TRIALS, size)]


@pytest.mark.parametrize("policy", POLICIES)
def test_only_pass_and_fail_count(policy):
    """Without the trials that are neither PASS nor FAIL the verdict is the same, unless one of them is primary."""
    for trials in SETS:
        decided = [trial for trial in trials if trial.outcome in (Outcome.PASS, Outcome.FAIL)]
        undecided_primary = any(trial.primary for trial in trials if trial not in decided)
        if not (policy == "primary" and undecided_primary):
            assert criterion_verdict(trials, policy) is criterion_verdict(decided, policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_pass_needs_a_passing_trial_and_a_fail_a_failing_one(policy):
    """A verdict of PASS needs a trial that passes, and one of FAIL a trial that fails."""
    for trials in SETS:
        outcomes = {trial.outcome for trial in trials}
        found = criterion_verdict(trials, policy)
        assert found is not Verdict.PASS or Outcome.PASS in outcomes
        assert found is not Verdict.FAIL or Outcome.FAIL in outcomes


def test_policy_all_never_passes_with_a_failing_trial():
    """Under the policy "all", a failing trial prevents PASS."""
    for trials in SETS:
        outcomes = [trial.outcome for trial in trials]
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
        primary = [trial for trial in trials if trial.primary]
        if primary:
            assert criterion_verdict(trials, "primary") is criterion_verdict(primary, "primary")
        else:
            assert criterion_verdict(trials, "primary") is criterion_verdict(trials, "all")


@pytest.mark.parametrize("policy", POLICIES)
def test_a_trial_that_does_not_apply_changes_nothing(policy):
    """A trial that does not apply to a model is left out; if it was the only primary one, nothing is decided."""
    for trials in SETS:
        absent = [JudgedTrial(outcome, applies=False) for outcome in Outcome]
        assert criterion_verdict([*trials, *absent], policy) is criterion_verdict(trials, policy)
    only = [JudgedTrial(Outcome.PASS, primary=True, applies=False), JudgedTrial(Outcome.PASS)]
    assert criterion_verdict(only, "primary") is Verdict.NA


@pytest.mark.parametrize("outcome", Outcome)
def test_where_seeds_are_compared_the_signature_decides_nothing(outcome):
    """A primary trial that compares seeds decides alone; where it does not apply, the other primary ones do."""
    signature = JudgedTrial(Outcome.PASS, primary=True)
    direct = JudgedTrial(outcome, primary=True, direct=True)
    assert criterion_verdict([signature, direct], "primary") is criterion_verdict([direct], "primary")
    assert criterion_verdict([signature, direct._replace(applies=False)], "primary") is Verdict.PASS


def test_the_support_of_a_verdict_is_that_of_the_trials_behind_it():
    """A verdict is direct if a trial with its outcome compared seeds, and one of NA rests on nothing."""
    direct = JudgedTrial(Outcome.PASS, primary=True, direct=True)
    signature = JudgedTrial(Outcome.PASS, primary=True)
    assert support_of([direct, signature], "primary") is Support.DIRECT
    assert support_of([direct._replace(applies=False), signature], "primary") is Support.SIGNATURE
    assert support_of([direct._replace(outcome=Outcome.FAIL), signature], "any") is Support.SIGNATURE
    assert support_of([direct._replace(outcome=Outcome.NA), signature], "primary") is None


def test_an_unknown_policy_is_refused():
    """The error names the policies."""
    with pytest.raises(ValueError, match="policy 'most' is not one of primary, all, majority, any"):
        criterion_verdict([], "most")


def test_models_that_are_na_do_not_count_in_the_overall_verdict():
    """The overall verdict is FAIL if a model fails, else PASS if one passes, else NA."""
    for verdicts in product(Verdict, repeat=3):
        expected = next((v for v in (Verdict.FAIL, Verdict.PASS) if v in verdicts), Verdict.NA)
        assert overall_verdict(verdicts) is expected


def test_a_criterion_lists_the_models_that_it_was_asked_of():
    """A model without a trial of a criterion has no verdict on it, and is not called undecided."""
    found = evidence({("heavy", "news", "m"): arm(share(0.9)), ("heavy", "news", "n"): arm(share(0.1))}, primary=True)
    assert {line.id: dict(line.verdicts) for line in found.criteria} == {
        "GT1": {},
        "GT2": {"m": Verdict.PASS, "n": Verdict.FAIL},
        "GT3": {},
    }
    assert {line.id: line.verdict for line in found.criteria}["GT1"] is Verdict.NA

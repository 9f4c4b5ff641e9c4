"""The criteria by the protocol of MechEvalAgent: at most three tries, one success."""

from itertools import product

import pytest

from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.protocol import MAX_TRIES, by_protocol, protocol_verdict
from pytest_unineuron.evidence.verdict import JudgedTrial, Verdict, criterion_verdict
from tests.evidence.made import arm, evidence, share

ASKED = {"protocol": "mechevalagent"}
GOOD, BAD = arm(share(0.9)), arm(share(0.2))


def test_the_verdict_is_that_of_the_policy_any_where_vacuous_trials_fail():
    """This holds for every set of tries."""
    for tried in product(Outcome, repeat=MAX_TRIES):
        failed = [Outcome.FAIL if outcome is Outcome.VACUOUS else outcome for outcome in tried]
        assert protocol_verdict(tried) is criterion_verdict(map(JudgedTrial, failed), "any")


def test_nothing_is_judged_unless_it_is_asked_for():
    assert by_protocol(evidence({("good", "", "m"): GOOD})) == {}


def gt2(cases, **more):
    return by_protocol(evidence({(name, "", "m"): result for name, result in cases.items()}, settings=ASKED, **more))[
        "GT2"
    ]


def test_only_the_first_three_trials_that_ran_count():
    """A success at the fourth try is none."""
    found = gt2({"one": BAD, "left_out": None, "two": BAD, "three": arm(share(0.5, error=0.1)), "four": GOOD})
    assert list(found.tries["m"]) == ["one", "two", "three"]
    assert found.verdict is Verdict.FAIL
    assert found.words == {"m": "FAIL, 0 of 3 tries"}
    assert gt2({"one": BAD, "two": BAD, "three": GOOD}).verdict is Verdict.PASS


def test_primary_trials_are_tried_first():
    """They were named before anything was measured."""
    primary = evidence({("primary", "", "m"): GOOD}, primary=True, settings=ASKED)
    others = evidence({(name, "", "m"): BAD for name in ("a", "b", "c")}, settings=ASKED)
    both = type(primary)((*others.trials, *primary.trials), policy="primary", settings=ASKED)
    assert list(by_protocol(both)["GT2"].tries["m"]) == ["primary", "a", "b"]


def test_a_vacuous_try_is_no_success():
    """Units outside of the finding meet its criterion."""
    assert gt2({"vain": GOOD}, control=0.9).verdict is Verdict.FAIL


def test_a_criterion_without_a_try_is_na():
    found = by_protocol(evidence({("good", "", "m"): GOOD}, settings=ASKED))
    assert {id_: record.verdict for id_, record in found.items()} == {"GT1": "NA", "GT2": "PASS", "GT3": "NA"}


def test_nothing_passes_if_the_run_is_not_as_it_was_locked():
    assert gt2({"good": GOOD}, violations=("the bound has changed",)).verdict is Verdict.NA


@pytest.mark.parametrize("result", [GOOD, BAD])
def test_it_changes_no_verdict_of_the_policy(result):
    cases = {("trial", "", "m"): result}
    verdicts = [[line.verdict for line in evidence(cases, settings=more).criteria] for more in ({}, ASKED)]
    assert verdicts[0] == verdicts[1]

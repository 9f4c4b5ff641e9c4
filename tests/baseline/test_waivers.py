"""Waivers: regressions that are allowed until a date."""

from datetime import date

import pytest

from pytest_unineuron.baseline.comparison import CaseState, compare
from pytest_unineuron.baseline.gate import Gate
from pytest_unineuron.baseline.waiver import Waiver
from pytest_unineuron.errors import OptionError
from tests.baseline.one_case import BAD, GOOD, KEY, only, state
from tests.evidence.made import evidence

WAIVER = Waiver.parse("heavy[news] on m until 2026-12-31: the new tokenizer, see issue 12")


def test_a_waiver_covers_a_regression_until_its_date():
    """On the day after its date a waiver has expired, and a remark says so."""
    entry = state(only(GOOD), only(BAD), waivers=[WAIVER], today=date(2026, 12, 31))
    assert entry.state is CaseState.WAIVED
    assert entry.reason.startswith(
        "until 2026-12-31, for the new tokenizer, see issue 12 (it is regressed: PASS before"
    )
    over = compare(only(GOOD), only(BAD), waivers=[WAIVER], today=date(2027, 1, 1))
    assert over.entries[0].state is CaseState.REGRESSED
    assert over.remarks == (f"the waiver of {WAIVER} has expired; renew it with a new date, or fix what it waits for",)


def test_a_late_clock_does_not_revive_a_waiver():
    """The date is never taken to be earlier than that of either run."""
    after = only(BAD, created="2027-01-02T00:00:00+00:00")
    assert state(only(GOOD), after, waivers=[WAIVER], today=date(2020, 1, 1)).state is CaseState.REGRESSED


def test_a_waiver_that_waives_nothing_gets_a_remark():
    """A waiver of a case that is the same is remarked on."""
    found = compare(only(GOOD), only(GOOD), waivers=[WAIVER], today=date(2026, 11, 2))
    assert found.entries[0].state is CaseState.SAME
    assert found.remarks == (f"the waiver of {WAIVER} waives nothing; leave it out",)


@pytest.mark.parametrize(
    "text",
    [
        "heavy[news]",
        "heavy[news] until 2026-12-31",
        "heavy[news] until 2026-13-31: x",
        "until 2026-12-31: x",
        "heavy[news] until 2026-12-31:  ",
        "",
    ],
)
def test_a_waiver_without_an_end_or_a_reason_is_refused(text):
    """The error shows the form of a waiver."""
    with pytest.raises(OptionError, match=r"say 'TRIAL\[CORPUS\] on MODEL until 2027-01-31: REASON'"):
        Waiver.parse(text)


def test_a_waiver_covers_every_model_unless_it_names_one():
    """Names are compared as a whole, and a reason may contain a colon."""
    every = Waiver.parse("heavy[news] until 2026-12-31: reason: with a colon")
    assert every.reason == "reason: with a colon"
    assert every.covers("heavy[news]", "", "m")
    assert every.covers("heavy[news]", "", "n")
    assert not WAIVER.covers("heavy[news]", "", "n")
    assert not WAIVER.covers("heavy[code]", "", "m")
    assert str(WAIVER) == "heavy[news] on m until 2026-12-31: the new tokenizer, see issue 12"


def test_a_waiver_can_name_one_variant():
    """A waiver of one case of a parametrized trial does not cover the others."""
    one = Waiver.parse("heavy[news] n-3 until 2026-12-31: reason")
    assert one.covers("heavy[news]", "n-3", "m")
    assert not one.covers("heavy[news]", "n-4", "m")


def test_a_waived_missing_case_does_not_count_as_compared():
    """A waived regression counts as compared, and a waived missing case does not."""
    waivers = [Waiver.parse("heavy[news] until 2999-01-01: gone")]
    found = compare(only(GOOD), evidence({("other", "news", "m"): GOOD}), waivers=waivers)
    assert str(found) == "2 cases: 1 waived, 1 new"
    assert found.compared == 0
    assert compare(only(GOOD), only(BAD), waivers=waivers).compared == 1


@pytest.mark.parametrize("accepted", [GOOD, None], ids=["deselected now", "never run"])
def test_a_waiver_covers_a_case_that_did_not_run(accepted):
    """It then passes a gate that tolerates nothing."""
    other = ("other", "news", "m")
    before, after = evidence({KEY: accepted, other: GOOD}), evidence({KEY: None, other: GOOD})
    found = compare(before, after, waivers=[WAIVER], today=date(2026, 11, 2))
    (entry,) = found.of(CaseState.WAIVED)
    assert entry.waived is CaseState.NOT_RUN
    assert entry.reason.endswith("(it is not run: deselected)" if accepted else "(it is not run)")
    assert found.remarks == ()
    assert Gate("regression", found, tolerated=("none",)).status(0, after) == (0, "")
    assert Gate("regression", compare(before, after), tolerated=("none",)).status(0, after)[0] == 21

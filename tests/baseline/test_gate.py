"""The exit status of a run, which the plugin and the command for saved reports share."""

import pytest

from pytest_unineuron.baseline.comparison import compare
from pytest_unineuron.baseline.gate import ExitStatus, Gate
from pytest_unineuron.evidence.outcome import NEVER_REACHED
from tests.baseline.one_case import only, state
from tests.evidence.made import arm, evidence, share

KEY = ("heavy", "news", "m")
GOOD, BAD = arm(share(0.9)), arm(share(0.1))
PASSES, FAILS, NOT_RUN, NONE = (evidence({KEY: result}) for result in (GOOD, BAD, None, GOOD))
GONE = evidence({("other", "news", "m"): GOOD, ("dense", "", "m"): GOOD})
WHOLE = evidence({KEY: GOOD, ("dense", "", "m"): GOOD})
OTHER = evidence({KEY: GOOD, ("dense", "", "m"): GOOD}, settings={"policy": "any"})
LOST = evidence({KEY: GOOD}, incomplete=("worker gw0 vanished",))
MOVED = evidence({KEY: GOOD}, violations=("something",))


def gate(before, after, tolerated=("not run",), fail_on="regression", **options):
    return Gate(fail_on, compare(before, after), tolerated=tolerated, **options)


@pytest.mark.parametrize(
    ("found", "run", "expected"),
    [
        (gate(PASSES, PASSES), PASSES, 0),
        (gate(PASSES, FAILS), FAILS, 21),
        (gate(FAILS, FAILS), FAILS, 0),
        (gate(FAILS, PASSES), PASSES, 0),
        (gate(WHOLE, GONE), GONE, 21),
        (gate(WHOLE, GONE, ("missing",)), GONE, 0),
        (gate(WHOLE, OTHER), OTHER, 23),
        (gate(WHOLE, OTHER, ("incomparable",)), OTHER, 23),
        (gate(PASSES, NOT_RUN), NOT_RUN, 23),
        (gate(WHOLE, evidence({KEY: GOOD, ("dense", "", "m"): None})), PASSES, 0),
        (gate(WHOLE, evidence({KEY: GOOD, ("dense", "", "m"): None}), ("none",)), PASSES, 21),
        (gate(PASSES, FAILS, fail_on="never"), FAILS, 0),
        (gate(PASSES, FAILS, fail_on="trial"), FAILS, 1),
        (Gate("trial"), FAILS, 1),
        (Gate("trial"), PASSES, 0),
        (Gate("criterion"), FAILS, 20),
        (Gate("criterion"), PASSES, 0),
        (Gate("regression", unusable="damaged"), PASSES, 23),
        (Gate("never", unusable="damaged"), PASSES, 23),
        (Gate("never", unwritten=("disk full",)), PASSES, 22),
        (Gate("never"), LOST, 22),
        (Gate("never"), MOVED, 24),
        (gate(PASSES, FAILS), evidence({KEY: BAD}, violations=("x",)), 24),
    ],
)
def test_exit_status(found, run, expected):
    """A run that compared nothing does not pass, and a FAIL that is in the baseline does."""
    assert found.status(0, run)[0] == expected
    assert bool(found.status(0, run)[1]) == (expected != 0)


@pytest.mark.parametrize("status", [2, 3, 4])
def test_statuses_2_to_4_of_pytest_are_never_replaced(status):
    """An interruption, an internal error and a wrong option keep pytest's status."""
    for found, run in ((gate(PASSES, FAILS), FAILS), (Gate("never"), LOST), (Gate("never"), MOVED)):
        assert found.status(status, run) == (status, "")


def test_status_1_is_replaced_by_22_to_24_only():
    """A regression or a criterion leaves 1; lost results, a lock and a damaged baseline replace it."""
    assert gate(PASSES, FAILS).status(1, FAILS)[0] == 1
    assert Gate("criterion").status(1, FAILS)[0] == 1
    assert Gate("never", unusable="damaged").status(1, FAILS)[0] == ExitStatus.BASELINE
    assert Gate("never").status(1, LOST)[0] == ExitStatus.INCOMPLETE
    assert Gate("never").status(1, MOVED)[0] == ExitStatus.LOCK


def test_status_5_is_replaced_by_a_gate():
    """pytest's status for an empty collection is replaced by ours."""
    assert gate(PASSES, NOT_RUN).status(5, NOT_RUN)[0] == 23


def test_no_criterion_passes_with_a_violated_lock():
    """A violated lock turns a verdict of PASS into NA."""
    assert [str(line.verdict) for line in PASSES.criteria] == ["NA", "PASS", "NA"]
    assert [str(line.verdict) for line in MOVED.criteria] == ["NA", "NA", "NA"]


def test_a_case_whose_controls_were_never_reached_is_missing():
    """A run that was cut short says nothing about the model, unless the model itself got worse."""
    entry = state(only(GOOD), only(GOOD, control=NEVER_REACHED))
    assert (entry.state, entry.reason) == ("missing", "it was PASS; of its controls, untrained never ran")
    assert state(only(GOOD), only(BAD, control=NEVER_REACHED)).state == "regressed"

"""``--unineuron-holm``: many trials of one criterion, of which one passes by a hair."""

BODY = """
from pytest_unineuron.statistics.resampling import Estimate

def estimate(distance, case):
    value = -1.0 if case.control else distance
    return Estimate(value, value - 2.13, value + 2.13, 1.0, "by hand", 15)

@pytest.mark.gt1(source="x")
def test_by_a_hair(unineuron_case):
    measure("size", estimate(2.2, unineuron_case), above=0)

@pytest.mark.gt1(source="x")
def test_by_far(unineuron_case):
    measure("size", estimate(9.0, unineuron_case), above=0)

@pytest.mark.gt1(source="x")
def test_not_at_all(unineuron_case):
    measure("size", estimate(-3.0, unineuron_case), above=0)

@pytest.mark.gt1(source="x")
def test_nor_this(unineuron_case):
    measure("size", estimate(-3.0, unineuron_case), above=0)

@pytest.mark.gt1(source="x")
def test_exact(unineuron_case):
    measure("size", 0 if unineuron_case.control else 2, above=1)

@pytest.mark.gt2(source="x")
def test_another_criterion(unineuron_case):
    measure("size", estimate(2.2, unineuron_case), above=0)
"""
ARGS = ("--unineuron-model=nano:neox-a", "--unineuron-fail-on=never")
NAMES = ("by_a_hair", "by_far", "not_at_all", "exact", "another_criterion")


def test_a_narrow_pass_among_several_is_undecided(trials):
    """It is NA with its p-value; what is far beyond, exact or alone in its criterion stands."""
    trials.write(BODY)
    plain, corrected = trials.run(*ARGS), trials.run(*ARGS, "--unineuron-holm")
    assert [plain.outcome(name) for name in NAMES] == ["PASS", "PASS", "FAIL", "PASS", "PASS"]
    assert [corrected.outcome(name) for name in NAMES] == ["NA", "PASS", "FAIL", "PASS", "PASS"]
    assert corrected.reason("by_a_hair").startswith("p = 0.0658 after Holm's correction over 4 trials; size = 2.2")
    assert corrected.report["settings"]["holm"] is True


def test_p_values_are_in_the_report(trials):
    """Whether or not they are corrected."""
    found = trials.write(BODY).run(*ARGS)
    (case,) = found.trial("by_far")["subjects"]["neox-a"]["cases"]
    (measurement,) = case["subject"]["measurements"]
    assert measurement["p"] < 1e-6

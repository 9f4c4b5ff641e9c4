"""``--unineuron-holm``: Holm's correction over the trials of one criterion."""

BODY = """
from pytest_unineuron.statistics.resampling import Estimate

def estimate(distance, case):
    value = -1.0 if case.control else distance
    return Estimate(value, value - 2.13, value + 2.13, 1.0, "by hand", 15)

@pytest.mark.gt1(source="x")
def test_narrow(unineuron_case):
    measure("size", estimate(2.2, unineuron_case), above=0)

@pytest.mark.gt1(source="x")
def test_clear(unineuron_case):
    measure("size", estimate(9.0, unineuron_case), above=0)

@pytest.mark.gt1(source="x")
def test_missed(unineuron_case):
    measure("size", estimate(-3.0, unineuron_case), above=0)

@pytest.mark.gt1(source="x")
def test_missed_too(unineuron_case):
    measure("size", estimate(-3.0, unineuron_case), above=0)

@pytest.mark.gt1(source="x")
def test_exact(unineuron_case):
    measure("size", 0 if unineuron_case.control else 2, above=1)

@pytest.mark.gt2(source="x")
def test_another_criterion(unineuron_case):
    measure("size", estimate(2.2, unineuron_case), above=0)
"""
ARGS = ("--unineuron-model=nano:neox-a", "--unineuron-fail-on=never")
NAMES = ("narrow", "clear", "missed", "exact", "another_criterion")


def test_a_narrow_pass_among_several_is_undecided(trials):
    """It is NA with its p-value. Passes that are far from the bound, exact or alone in a criterion remain."""
    trials.write(BODY)
    plain, corrected = trials.run(*ARGS), trials.run(*ARGS, "--unineuron-holm")
    assert [plain.outcome(name) for name in NAMES] == ["PASS", "PASS", "FAIL", "PASS", "PASS"]
    assert [corrected.outcome(name) for name in NAMES] == ["NA", "PASS", "FAIL", "PASS", "PASS"]
    assert corrected.reason("narrow").startswith("p = 0.0658 after Holm's correction over 4 trials; size = 2.2")
    assert corrected.report["settings"]["holm"] is True


def test_p_values_are_in_the_report(trials):
    """They are reported also if they are not corrected."""
    found = trials.write(BODY).run(*ARGS)
    (case,) = found.trial("clear")["subjects"]["neox-a"]["cases"]
    (measurement,) = case["subject"]["measurements"]
    assert measurement["p"] < 1e-6

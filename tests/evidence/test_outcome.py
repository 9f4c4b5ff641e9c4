"""Laws of outcomes: arms, cases with their controls, trials."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.evidence.measurement import make_measurement
from pytest_unineuron.evidence.outcome import ArmResult, CaseResult, ControlStatus, Outcome, judge, worst_outcome

HIGH, LOW = (make_measurement("x", value, above=0.5) for value in (0.9, 0.1))
ARMS = [ArmResult(outcome, "why", (HIGH,) if outcome is Outcome.PASS else (LOW,)) for outcome in Outcome]


def control(outcome, measurement=LOW):
    return ArmResult(outcome, "control", (measurement,) if measurement else ())


def case(subject, **arms):
    return CaseResult(arms, ArmResult(subject, "subject", (HIGH,)))


def test_a_body_that_judged_nothing_is_an_error():
    """Recording without a bound is not a trial."""
    assert judge([])[0] is Outcome.ERROR
    assert judge([make_measurement("x", 1.0)])[0] is Outcome.ERROR


def test_every_miss_is_named():
    """All misses are in the reason, not only the first."""
    outcome, reason = judge(
        [
            make_measurement("a", 0.1, above=0.5),
            make_measurement("b", 0.9, above=0.5),
            make_measurement("c", 3, below=2),
        ]
    )
    assert outcome is Outcome.FAIL
    assert "a = 0.1" in reason
    assert "c = 3" in reason
    assert "b" not in reason.replace("subject", "")


@pytest.mark.parametrize("subject", [Outcome.PASS, Outcome.FAIL, Outcome.NA])
def test_a_claim_that_a_control_shows_is_vacuous(subject):
    """Whatever the subject measured."""
    result = case(subject, untrained=control(Outcome.PASS, HIGH), shuffled=control(Outcome.FAIL))
    assert result.outcome()[0] is Outcome.VACUOUS
    assert result.controls(ControlStatus.HELD) == ("untrained",)


def test_accepting_vacuous_trials_takes_the_subject_at_its_word():
    """That is what the notebook did."""
    result = case(Outcome.PASS, untrained=control(Outcome.PASS, HIGH))
    assert result.outcome(accept_vacuous=True)[0] is Outcome.PASS


@pytest.mark.parametrize("accept_vacuous", [False, True])
@pytest.mark.parametrize("arms", [{}, {"untrained": control(Outcome.ERROR)}, {"untrained": control(Outcome.NA, None)}])
def test_nothing_passes_without_a_finished_control(arms, accept_vacuous):
    """No control, a broken one, or one that measured nothing: NA, with the reason."""
    outcome, reason = case(Outcome.PASS, **arms).outcome(accept_vacuous=accept_vacuous)
    assert outcome is Outcome.NA
    assert "uncontrolled" in reason


def test_one_broken_control_keeps_a_claim_from_passing():
    """Every planned control must have finished."""
    result = case(Outcome.PASS, untrained=control(Outcome.FAIL), shuffled=control(Outcome.NOT_RUN))
    outcome, reason = result.outcome()
    assert outcome is Outcome.NA
    assert "shuffled did not finish" in reason


def test_a_control_that_cannot_count_the_effect_has_missed():
    """A minimum that a control does not meet is an effect not shown."""
    assert control(Outcome.NA).control_status is ControlStatus.MISSED


@pytest.mark.parametrize(("subject", "outcome"), [(Outcome.PASS, "VACUOUS"), (Outcome.FAIL, "FAIL")])
def test_a_control_beyond_its_limit_takes_a_pass_away(subject, outcome):
    """A control that misses the bound but not by the margin asked for: no PASS, and a FAIL is still one."""
    near = control(Outcome.FAIL, make_measurement("x", 0.7, above=0.75, null=0.6))
    assert near.control_status is ControlStatus.NEAR
    found, reason = case(subject, untrained=near).outcome()
    assert found == outcome
    assert subject is Outcome.FAIL or reason == "untrained comes too near: x = 0.7, beyond the 0.6 allowed for controls"


@given(st.sampled_from(ARMS), st.lists(st.sampled_from(ARMS), max_size=3))
def test_a_pass_always_has_a_passing_subject_and_missing_controls(subject, arms):
    """Silence, error and 'not run' are never support."""
    result = CaseResult({str(i): arm for i, arm in enumerate(arms)}, subject)
    if result.outcome()[0] is Outcome.PASS:
        assert subject.outcome is Outcome.PASS
        assert arms
        assert all(arm.control_status is ControlStatus.MISSED for arm in arms)


def test_a_trial_passes_when_every_case_does():
    """For every pair of outcomes, exhaustively."""
    for pair in product(Outcome, repeat=2):
        assert (worst_outcome(pair) is Outcome.PASS) == (set(pair) == {Outcome.PASS})
    assert worst_outcome([]) is Outcome.NOT_RUN


@given(st.sampled_from(ARMS))
def test_an_arm_survives_storage(arm):
    """What is written is what is read."""
    assert ArmResult.of_dict(arm.as_dict()) == arm


def drawn(values, name="shuffled"):
    return {
        name if n == 1 else f"{name}.{n}": control(Outcome.FAIL, make_measurement("x", value, above=0.5))
        for n, value in enumerate(values, start=1)
    }


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_p_against_a_control_counts_draws_that_do_as_well(values):
    """Phipson and Smyth: never zero, one where every draw does as well, and a tie counts."""
    values = [min(value, 0.45) if value < 0.9 else value for value in values]
    found = CaseResult(drawn(values), ArmResult(Outcome.PASS, "", (HIGH,))).permutation_p_values
    near = [v for v in values if v <= 0.45]  # beyond 0.5 a control would hold, and still be counted
    assert found == {"shuffled": (1 + len(values) - len(near)) / (1 + len(values))}


def test_a_control_has_to_do_as_well_in_everything_claimed():
    """And in the direction claimed; what it did not measure it did not reach."""
    claimed = (HIGH, make_measurement("y", 0.1, below=0.5))
    arms = {
        "a": ArmResult(
            Outcome.FAIL, "", (make_measurement("x", 0.95, above=0.5), make_measurement("y", 0.2, below=0.5))
        ),
        "b": ArmResult(
            Outcome.FAIL, "", (make_measurement("x", 0.95, above=0.5), make_measurement("y", 0.1, below=0.5))
        ),
        "c": ArmResult(Outcome.NA, "", (make_measurement("x", 0.95, above=0.5),)),
        "d": ArmResult(Outcome.ERROR, ""),
    }
    assert CaseResult(arms, ArmResult(Outcome.PASS, "", claimed)).permutation_p_values == {"a": 0.5, "b": 1.0, "c": 0.5}


def test_few_draws_do_not_enter_the_p_value_of_a_case():
    """They could not be small."""
    subject = ArmResult(Outcome.PASS, "", (HIGH,))
    assert CaseResult(drawn([0.1] * 18), subject).p_value is None
    assert CaseResult(drawn([0.1] * 19), subject).p_value == 0.05

"""Laws of the outcomes of arms, of cases with their controls, and of trials."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.evidence.make_measurement import make_measurement
from pytest_unineuron.evidence.outcome import ArmResult, CaseResult, ControlStatus, Outcome, judge, worst_outcome
from pytest_unineuron.statistics.resampling import Estimate

HIGH, LOW = (make_measurement("x", value, above=0.5) for value in (0.9, 0.1))
ARMS = [ArmResult(outcome, "why", (HIGH,) if outcome is Outcome.PASS else (LOW,)) for outcome in Outcome]


def control(outcome, measurement=LOW):
    return ArmResult(outcome, "control", (measurement,) if measurement else ())


def case(subject, **arms):
    return CaseResult(arms, ArmResult(subject, "subject", (HIGH,)))


def test_a_body_without_a_bound_is_an_error():
    """A body that measures nothing, or nothing with a bound, is an ERROR."""
    assert judge([])[0] is Outcome.ERROR
    assert judge([make_measurement("x", 1.0)])[0] is Outcome.ERROR


def test_the_reason_names_every_miss():
    """The reason of a FAIL names all measurements that missed, and no other."""
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
def test_a_claim_that_holds_on_a_control_is_vacuous(subject):
    """A case is VACUOUS whatever the subject measured, if the claim holds on a control."""
    result = case(subject, untrained=control(Outcome.PASS, HIGH), shuffled=control(Outcome.FAIL))
    assert result.outcome()[0] is Outcome.VACUOUS
    assert result.controls(ControlStatus.HELD) == ("untrained",)


def test_accept_vacuous_ignores_controls_that_hold():
    """With accept_vacuous a claim can pass that also holds on a control."""
    result = case(Outcome.PASS, untrained=control(Outcome.PASS, HIGH))
    assert result.outcome(accept_vacuous=True)[0] is Outcome.PASS


@pytest.mark.parametrize("accept_vacuous", [False, True])
@pytest.mark.parametrize("arms", [{}, {"untrained": control(Outcome.ERROR)}, {"untrained": control(Outcome.NA, None)}])
def test_nothing_passes_without_a_finished_control(arms, accept_vacuous):
    """A case is NA without a control, with a broken one, and with one that measured nothing."""
    outcome, reason = case(Outcome.PASS, **arms).outcome(accept_vacuous=accept_vacuous)
    assert outcome is Outcome.NA
    assert "uncontrolled" in reason


def test_one_unfinished_control_prevents_a_pass():
    """A case is NA if one of its controls finished and another did not."""
    result = case(Outcome.PASS, untrained=control(Outcome.FAIL), shuffled=control(Outcome.NOT_RUN))
    outcome, reason = result.outcome()
    assert outcome is Outcome.NA
    assert "without shuffled" in reason


def wide(value, error):
    """A number with an interval, which is nan without an error, and how a body ends that claims it above one half."""
    measurement = make_measurement("x", Estimate.student(value, error, 15, "jackknife"), above=0.5)
    return ArmResult(*judge([measurement]), (measurement,))


@pytest.mark.parametrize(
    ("found", "outcome"),
    [(wide(0.95, np.nan), "NA"), (wide(0.95, 0.25), "NA"), (wide(0.7, 0.25), "PASS"), (wide(0.2, 0.01), "PASS")],
)
def test_a_control_that_is_uncertain_is_no_evidence_beside_a_lower_value(found, outcome):
    """One without its interval says nothing, and one that reaches the model is not behind it."""
    assert CaseResult({"untrained": found}, wide(0.8, 0.02), ("untrained",)).outcome()[0] == outcome


def test_a_control_that_was_skipped_after_an_unclear_number_has_not_missed():
    """It never came to what else is claimed."""
    ended = replace(wide(0.52, 0.05), reason="Skipped: no attention here")
    assert ended.control_status is ControlStatus.UNFINISHED
    assert wide(0.52, 0.05).control_status is ControlStatus.MISSED


@pytest.mark.parametrize(
    ("own", "expected"), [(Outcome.PASS, "NA"), (Outcome.FAIL, "FAIL"), (Outcome.NA, "NA"), (Outcome.ERROR, "ERROR")]
)
@pytest.mark.parametrize("accept_vacuous", [True, False])
def test_fewer_controls_than_declared_never_pass(own, expected, accept_vacuous):
    """A claim that holds against one of three controls is NA; any other outcome stays."""
    result = replace(case(own, shuffled=control(Outcome.FAIL)), declared=("untrained", "shuffled", "rotation"))
    outcome, reason = result.outcome(accept_vacuous=accept_vacuous)
    assert outcome == expected
    assert reason.startswith("against 1 of 3 controls: shuffled; ") == (own is Outcome.PASS)


def test_fewer_controls_than_declared_can_be_vacuous():
    """One control that shows the claim is enough."""
    result = replace(case(Outcome.PASS, shuffled=control(Outcome.PASS)), declared=("untrained", "shuffled"))
    assert result.outcome()[0] is Outcome.VACUOUS


def test_a_control_one_of_whose_draws_broke_is_not_counted():
    """All draws of a control have to finish."""
    arms = {
        "untrained": control(Outcome.FAIL),
        "untrained.2": control(Outcome.ERROR),
        "rotation": control(Outcome.FAIL),
    }
    reason = case(Outcome.PASS, **arms).outcome()[1]
    assert reason.startswith("against 1 of 2 controls: rotation; without untrained.2")


def test_a_control_below_a_minimum_has_missed():
    """A control on which an effect is too rare to be counted has missed the claim; one that was skipped has not."""
    scarce = replace(make_measurement("tokens", 3, above=9), needed=True)
    assert control(Outcome.NA, scarce).control_status is ControlStatus.MISSED
    assert control(Outcome.NA).control_status is ControlStatus.UNFINISHED


@pytest.mark.parametrize(("subject", "outcome"), [(Outcome.PASS, "VACUOUS"), (Outcome.FAIL, "FAIL")])
def test_a_control_beyond_its_limit_turns_a_pass_into_vacuous(subject, outcome):
    """A control that misses the bound but exceeds its limit makes a PASS vacuous, and leaves a FAIL."""
    near = control(Outcome.FAIL, make_measurement("x", 0.7, above=0.75, null=0.6))
    assert near.control_status is ControlStatus.NEAR
    found, reason = case(subject, untrained=near).outcome()
    assert found == outcome
    assert subject is Outcome.FAIL or reason == "untrained comes too near: x = 0.7, beyond the 0.6 allowed for controls"


@given(st.sampled_from(ARMS), st.lists(st.sampled_from(ARMS), max_size=3))
def test_a_pass_needs_a_passing_subject_and_missing_controls(subject, arms):
    """A case passes only if its subject passes and all of at least one control miss."""
    result = CaseResult({str(i): arm for i, arm in enumerate(arms)}, subject)
    if result.outcome()[0] is Outcome.PASS:
        assert subject.outcome is Outcome.PASS
        assert arms
        assert all(arm.control_status is ControlStatus.MISSED for arm in arms)


def test_a_trial_passes_only_if_every_case_does():
    """For every pair of outcomes, the worst is PASS only if both are."""
    for pair in product(Outcome, repeat=2):
        assert (worst_outcome(pair) is Outcome.PASS) == (set(pair) == {Outcome.PASS})
    assert worst_outcome([]) is Outcome.NOT_RUN


@given(st.sampled_from(ARMS))
def test_an_arm_result_is_read_as_it_was_written(arm):
    """A result equals the one read from its dictionary."""
    assert ArmResult.of_dict(arm.as_dict()) == arm


def arms_of_draws(values, name="shuffled"):
    return {
        name if n == 1 else f"{name}.{n}": control(Outcome.FAIL, make_measurement("x", value, above=0.5))
        for n, value in enumerate(values, start=1)
    }


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_permutation_p_value_counts_draws_as_extreme_as_the_subject(values):
    """The p-value is (1 + draws at least as extreme) / (1 + draws), where a tie counts (Phipson and Smyth 2010)."""
    values = [min(value, 0.45) if value < 0.9 else value for value in values]
    found = CaseResult(arms_of_draws(values), ArmResult(Outcome.PASS, "", (HIGH,))).permutation_p_values
    near = [v for v in values if v <= 0.45]  # values from 0.9 are at least as extreme as the subject
    assert found == {"shuffled": (1 + len(values) - len(near)) / (1 + len(values))}


def test_a_draw_is_as_extreme_only_in_all_claimed_measurements():
    """A draw counts only if it reaches the subject in every claimed measurement, in the claimed direction."""
    claimed = (HIGH, make_measurement("y", 0.1, below=0.5))
    arms = {
        "a": ArmResult(
            Outcome.FAIL, "", (make_measurement("x", 0.95, above=0.5), make_measurement("y", 0.2, below=0.5))
        ),
        "b": ArmResult(
            Outcome.FAIL, "", (make_measurement("x", 0.95, above=0.5), make_measurement("y", 0.1, below=0.5))
        ),
        "c": ArmResult(
            Outcome.NA,
            "",
            (make_measurement("x", 0.95, above=0.5), replace(make_measurement("n", 3, above=9), needed=True)),
        ),
        "d": ArmResult(Outcome.ERROR, ""),
    }
    assert CaseResult(arms, ArmResult(Outcome.PASS, "", claimed)).permutation_p_values == {"a": 0.5, "b": 1.0, "c": 0.5}


def test_few_draws_do_not_enter_the_p_value_of_a_case():
    """The p-value of a case includes permutation p-values of controls with at least 19 draws."""
    subject = ArmResult(Outcome.PASS, "", (HIGH,))
    assert CaseResult(arms_of_draws([0.1] * 18), subject).p_value is None
    assert CaseResult(arms_of_draws([0.1] * 19), subject).p_value == 0.05

"""Laws of a model against its controls: differences, probabilities by unit, and what they make of a case."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_unineuron.errors import TrialError
from pytest_unineuron.evidence.contrast import contrasts
from pytest_unineuron.evidence.make_measurement import make_measurement
from pytest_unineuron.evidence.measurement import BoundStatus, Measurement
from pytest_unineuron.evidence.outcome import ArmResult, CaseResult, ControlStatus, Outcome, judge
from pytest_unineuron.evidence.standard_error import StandardError, student_quantile
from pytest_unineuron.evidence.unit_contrast import UnitContrast

reals = st.floats(-100, 100)


def number(value, parts=(), error=0.0, **claim):
    spread = StandardError(error, len(parts[0]) - 1 if parts else 15, 0.0, tuple(parts)) if parts or error else None
    return Measurement("x", value, spread=spread, **claim)


def named(name, value, **claim):
    return Measurement(name, value, **claim)


def unit(probability, reach=0.01, **claim):
    """The measurement of a control arm, with the model's probability of superiority over it."""
    made = UnitContrast(probability, probability - reach, probability + reach, "made", 0.01, ((0, probability),))
    return Measurement("x", 3.0, by_unit=True, contrast=made, **claim)


def arm(measurement):
    outcome, reason = judge([measurement])
    return ArmResult(outcome, reason, (measurement,))


def case(subject, **controls):
    return CaseResult({name: arm(m) for name, m in controls.items()}, arm(subject))


@given(reals, reals, st.floats(0, 10))
def test_a_difference_and_its_mirror_image_have_the_same_status(model, control, by):
    """To be higher by some amount is to be lower by it, seen with the other sign."""
    (higher,) = contrasts([number(model, higher_by=by)], {"untrained": [number(control, higher_by=by)]})
    (lower,) = contrasts([number(-model, lower_by=by)], {"untrained": [number(-control, lower_by=by)]})
    assert higher.status is lower.status
    assert higher.margin == lower.margin
    assert higher.value == model - control


@given(st.lists(reals, min_size=3, max_size=8), reals)
def test_what_all_groups_share_cancels_in_a_paired_difference(parts, shift):
    """The interval of a difference over the same groups has no width if both change alike from group to group."""
    model = number(sum(parts) / len(parts), [tuple(parts)], error=0.1, higher_by=0.0)
    control = number(model.value - shift, [tuple(p - shift for p in parts)], error=0.1, higher_by=0.0)
    (found,) = contrasts([model], {"untrained": [control]})
    reach = student_quantile(len(parts) - 1) * 0.01  # a tenth of the larger error is the least that is believed
    assert found.high - found.low == pytest.approx(2 * reach, rel=1e-6, abs=1e-9)


def test_the_interval_of_a_difference_is_that_of_the_paired_jackknife():
    """Interval and p-value equal an independent computation."""
    model, control = (1.0, 1.2, 1.1, 1.3), (0.4, 0.5, 0.45, 0.5)
    (found,) = contrasts(
        [number(1.15, [model], error=0.2, higher_by=0.1)], {"c": [number(0.46, [control], error=0.1, higher_by=0.1)]}
    )
    differences = [a - b for a, b in zip(model, control, strict=True)]
    mean = sum(differences) / 4
    error = math.sqrt(3 / 4 * sum((d - mean) ** 2 for d in differences))
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 3) * error)
    assert found.p == pytest.approx(stats.t.sf((0.69 - 0.1) / error, 3), rel=1e-6)


@pytest.mark.parametrize(
    ("probability", "outcome"), [(0.9, Outcome.PASS), (0.645, Outcome.NA), (0.6, Outcome.FAIL), (None, Outcome.NA)]
)
def test_units_have_to_lie_beyond_every_control(probability, outcome):
    """One control that the model does not exceed decides, and the reason names it."""
    control = unit(0.0, higher_by=0.64)
    made = None if probability is None else unit(probability).contrast
    control = Measurement("x", 3.0, by_unit=True, higher_by=0.64, contrast=made or UnitContrast(None, None, None, ""))
    subject = Measurement("x", 5.0, by_unit=True, higher_by=0.64)
    found, reason = case(subject, untrained=unit(0.99, higher_by=0.64), shuffled=control).outcome()
    assert found is outcome
    assert "shuffled" in reason
    assert outcome is Outcome.PASS or "untrained" not in reason


def test_lower_units_are_shown_as_the_probability_of_being_lower():
    """A density that is lower with probability 0.9 is claimed to be so with more than 0.64."""
    subject = Measurement("density", 0.1, by_unit=True, lower_by=0.64)
    control = Measurement("density", 0.5, by_unit=True, lower_by=0.64, contrast=unit(0.1).contrast)
    result = case(subject, untrained=control)
    assert result.outcome()[0] is Outcome.PASS
    assert str(result.contrasts[0]) == "density against untrained: P(lower) = 0.9 [0.89, 0.91], claimed > 0.64"


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize(
    ("profile", "status"),
    [
        ((0.99, 0.55, 0.55), BoundStatus.UNCLEAR),
        ((0.99, 0.7, 0.6), BoundStatus.HOLDS),
        ((0.99,), BoundStatus.HOLDS),
        ((0.99, 0.9, None), BoundStatus.HOLDS),
        ((0.6, 0.5, 0.5), BoundStatus.MISSES),
        ((0.01, 0.7, 0.7), BoundStatus.MISSES),
    ],
)
def test_no_single_layer_decides(profile, status, lower):
    """A claim that would not hold without its best layer is too close to call; one layer is enough for a miss."""
    side = [value if value is None or not lower else 1 - value for value in profile]
    known = [value for value in side if value is not None]
    mean = sum(known) / len(known)
    made = UnitContrast(mean, mean - 0.01, mean + 0.01, "made", 0.01, tuple(enumerate(side)))
    claim = {"lower_by" if lower else "higher_by": 0.64}
    subject = Measurement("x", 5.0, by_unit=True, **claim)
    (found,) = contrasts([subject], {"untrained": [Measurement("x", 3.0, by_unit=True, contrast=made, **claim)]})
    assert found.status is status
    assert ("not without layer 0" in str(found)) == (status is BoundStatus.UNCLEAR)


def test_a_claim_relative_to_controls_cannot_hold_on_one():
    """A control arm that meets the bound of the number is compared with the model, and makes nothing vacuous."""
    control = arm(number(0.9, above=0.5, higher_by=0.1))
    assert control.control_status is ControlStatus.COMPARED
    assert case(number(1.5, above=0.5, higher_by=0.1), shuffled=number(0.9, above=0.5, higher_by=0.1)).outcome()[0] is (
        Outcome.PASS
    )


def test_a_control_that_has_too_little_of_the_effect_is_left_behind():
    """A control whose minimum is not met measured nothing to compare with: the effect is too rare there."""
    few = ArmResult(Outcome.NA, "underpowered", (Measurement("neurons", 2.0, above=30.0, needed=True),))
    result = CaseResult({"untrained": few}, arm(number(1.0, higher_by=0.5)))
    assert result.outcome()[0] is Outcome.PASS
    assert result.contrasts == ()


def test_a_difference_without_a_value_is_undefined():
    """A control without a value leaves the comparison open."""
    nothing = make_measurement("x", math.nan, higher_by=0.1)
    result = CaseResult({"untrained": arm(nothing)}, arm(number(1.0, higher_by=0.1)))
    assert result.contrasts[0].status is BoundStatus.UNDEFINED
    assert result.outcome()[0] is Outcome.NA


def test_a_control_whose_interval_could_not_be_made_is_not_taken_as_exact():
    """The difference is shown, and decides nothing."""
    control = Measurement("x", 0.4, method="jackknife", higher_by=0.1)
    found = case(number(0.6, error=0.02, higher_by=0.1), untrained=control)
    assert found.outcome() == (
        Outcome.NA,
        "too close to call: x against untrained: difference = 0.2, claimed > 0.1",
    )


@pytest.mark.parametrize("by_unit", [False, True])
def test_a_name_that_a_control_did_not_measure_is_compared_with_nothing(by_unit):
    """A name with data in it would pass beyond every control."""
    five, seven = (Measurement(f"neuron {n}", n, by_unit=by_unit, higher_by=0.6) for n in (5, 7))
    outcome, reason = case(five, untrained=seven).outcome()
    assert outcome is Outcome.NA
    assert reason.startswith("undefined: neuron 5 against untrained: ")


def test_a_limit_for_controls_counts_beside_a_comparison():
    """A control beyond it is too near, whatever else the claim compares."""

    def measured(auroc, share):
        limited = Measurement("auroc", auroc, above=0.5, null=0.6)
        outcome, reason = judge(made := [limited, Measurement("share", share, higher_by=0.1)])
        return ArmResult(outcome, reason, tuple(made))

    found = CaseResult({"untrained": measured(0.7, 0.1)}, measured(0.9, 0.5))
    assert found.outcome() == (
        Outcome.VACUOUS,
        "untrained comes too near: auroc = 0.7, beyond the 0.6 allowed for controls",
    )
    assert CaseResult({"untrained": measured(0.55, 0.1)}, measured(0.9, 0.5)).outcome()[0] is Outcome.PASS


def test_measurements_of_one_name_are_compared_in_their_order():
    """A trial can use a name several times."""
    model = [number(value, higher_by=0.0) for value in (5.0, 7.0)]
    control = [number(value, higher_by=0.0) for value in (1.0, 2.0)]
    assert [contrast.value for contrast in contrasts(model, {"untrained": control})] == [4.0, 5.0]


def test_draws_of_a_control_give_a_permutation_p_value():
    """One draw of four reaches the model."""
    draws = {f"shuffled.{n}": number(value, higher_by=0.0) for n, value in enumerate((0.1, 0.2, 0.3), start=2)}
    result = case(number(0.5, higher_by=0.0), shuffled=number(0.6, higher_by=0.0), **draws)
    assert result.permutation_p_values == {"shuffled": 2 / 5}


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"higher_by": 0.1, "lower_by": 0.1}, "not both"),
        ({"higher_by": -0.1}, "not negative; for less than them say lower_by"),
        ({"higher_by": math.nan}, "has to be a finite number"),
    ],
)
def test_a_distance_that_is_none_is_refused(claim, message):
    """The error says what to type instead."""
    with pytest.raises(TrialError, match=message):
        make_measurement("x", 1.0, **claim)


def skipped(*measurements):
    return ArmResult(Outcome.NA, "skipped", measurements)


def test_a_control_that_ended_after_a_comparison_leaves_the_others_open():
    """It was finished with the first number, and says nothing about the second."""
    subject = ArmResult(Outcome.PASS, "", (named("a", 1.0, higher_by=0.1), named("b", 1.0, higher_by=0.1)))
    found = CaseResult({"untrained": skipped(named("a", 0.0, higher_by=0.1))}, subject)
    assert [(c.measurement, c.status) for c in found.contrasts] == [
        ("a", BoundStatus.HOLDS),
        ("b", BoundStatus.UNDEFINED),
    ]
    assert found.outcome()[0] is Outcome.NA


def test_a_control_that_failed_before_its_comparison_is_no_evidence():
    """As by an assertion about something else. One that has too little of the effect is left behind."""
    subject = ArmResult(Outcome.PASS, "", (named("a", 1.0, higher_by=0.1),))
    broken = ArmResult(Outcome.FAIL, "asserted: bug in my control")
    found = CaseResult({"mine": broken, "untrained": arm(named("a", 0.0, higher_by=0.1))}, subject)
    assert found.outcome()[0] is Outcome.NA
    assert "a against mine" in found.outcome()[1]


def test_a_control_with_an_undefined_bound_or_minimum_is_unfinished():
    """Whatever else it was compared in; a count that is no number is not a small one."""
    compared, undefined = named("a", 0.0, higher_by=0.1), make_measurement("b", math.nan, above=0.5)
    count = Measurement("n", None, above=30.0, needed=True)
    assert skipped(compared, undefined).control_status is ControlStatus.UNFINISHED
    assert skipped(count).control_status is ControlStatus.UNFINISHED


def test_an_interval_without_a_standard_error_is_no_exact_number():
    """Its half width is that of a Normal value."""
    wide = {"higher_by": 0.1, "method": "given"}
    (found,) = contrasts(
        [Measurement("x", 0.5, low=0.1, high=0.9, **wide)],
        {"untrained": [Measurement("x", 0.35, low=0.05, high=0.75, **wide)]},
    )
    assert found.status is BoundStatus.UNCLEAR
    assert found.high - found.low == pytest.approx(2 * math.hypot(0.4, 0.35), rel=0.01)


def test_a_layer_that_is_alone_because_others_are_undefined_decides_nothing():
    made = UnitContrast(0.99, 0.98, 1.0, "made", 0.01, ((0, 0.99), (1, None), (2, None)))
    claim = {"by_unit": True, "higher_by": 0.64}
    (found,) = contrasts(
        [Measurement("x", 5.0, **claim)], {"untrained": [Measurement("x", 3.0, contrast=made, **claim)]}
    )
    assert found.status is BoundStatus.UNCLEAR


def test_a_control_in_the_last_bit_of_its_limit_is_not_beyond_it():
    """As for every other bound, and a number beyond it is written so that it looks so."""
    near, beyond = (Measurement("x", value, above=0.5, null=0.5) for value in (0.5 + 1e-16, 0.50004))
    assert not near.exceeds_control_limit
    assert beyond.exceeds_control_limit
    assert arm(beyond).exceeded_limits == "x = 0.50004, beyond the 0.5 allowed for controls"


def test_a_resolution_that_is_no_number_is_no_standard_error():
    """It could not be written into a report."""
    estimate = SimpleNamespace(error=0.1, degrees=7, resolution=math.nan)
    assert StandardError.of(estimate) is None


@pytest.mark.parametrize("control", [1 - 1e-9, 1 + 1e-9, 0.999999])
def test_rounding_takes_no_difference_beyond_a_claim(control):
    """Of float32, that is; whole numbers are exact, and a difference of 0 is one."""
    (found,) = contrasts([number(1.0, higher_by=0.0)], {"c": [number(control, higher_by=0.0)]})
    assert found.status is BoundStatus.UNCLEAR
    (found,) = contrasts([number(10001.0, higher_by=0.0)], {"c": [number(10000.0, higher_by=0.0)]})
    assert found.status is BoundStatus.HOLDS
    (found,) = contrasts([number(1.0, higher_by=0.0)], {"c": [number(1.0, higher_by=0.0)]})
    assert found.status is BoundStatus.MISSES


def test_a_control_is_compared_in_every_use_of_a_name_and_on_both_sides_of_a_claim():
    """As far from the nearer bound as the model, in each number."""

    def shares(*values, reach=0.0, **claim):
        return [named("share", v, low=v - reach, high=v + reach, method="made", **claim) for v in values]

    def level(model, control, **claim):
        found = shares(*control, reach=0.5, **claim)
        subject = ArmResult(Outcome.PASS, "", tuple(shares(*model, **claim)))
        return CaseResult({"c": ArmResult(*judge(found), tuple(found))}, subject).permutation_p_values["c"]

    assert level((0.93, 0.9), (0.95, 0.91), above=0.5) == 1
    assert level((0.93, 0.9), (0.92, 0.91), above=0.5) == 0.5
    assert level((0.5,), (0.5001,), above=0.3, below=0.8) == 1
    assert level((0.5,), (0.7,), above=0.3, below=0.8) == 0.5

"""The data that charts draw: numbers, intervals, bounds and controls of evidence made by hand."""

import math

from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.evidence.measurement import Measurement
from pytest_unineuron.evidence.outcome import CaseResult
from pytest_unineuron.evidence.unit_contrast import UnitContrast
from pytest_unineuron.reports.charts import (
    BEFORE,
    CONTROL,
    MODEL,
    Axis,
    Dot,
    Line,
    LinePlot,
    ReferenceLine,
    dot_plots,
    line_plots,
)
from tests.evidence.made import arm, share

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1), st.data())
def test_every_shown_value_is_on_its_axis_in_order(values, data):
    """Places are per cent within the margins, also for the largest floats, and keep the order of the values."""
    axis = Axis.over(values)
    one, other = sorted((data.draw(st.sampled_from(values)), data.draw(st.sampled_from(values))))
    assert 4 <= axis.at(one) <= axis.at(other) <= 96


def test_an_axis_of_one_value_has_it_in_the_middle():
    """Nothing is divided by zero."""
    assert Axis.over([2.0, 2.0, None]).at(2.0) == 50
    assert math.isfinite(Axis.over([]).at(0.0))


def test_a_plot_has_the_model_the_controls_and_the_bounds():
    """All are on one axis, in this order; minimums and reported numbers have no plot."""
    needed = Measurement("documents", 80.0, above=64.0, needed=True)
    own = arm(needed, share(0.9, error=0.01), share(0.9, null=0.3, name="limited"), Measurement("reported", 1.0))
    plot, limited = dot_plots(CaseResult({"untrained": arm(share(0.2)), "lost": arm()}, own), "m")
    assert (plot.title, plot.claim) == ("share", "> 0.5")
    assert plot.dots == (Dot("m", MODEL, 0.9, 0.9 - 0.02131, 0.9 + 0.02131), Dot("untrained", CONTROL, 0.2))
    assert plot.marks == (ReferenceLine("bound", 0.5),)
    assert limited.marks == (ReferenceLine("bound", 0.5), ReferenceLine("limit", 0.3))
    assert plot.axis == Axis(0.2, 0.9 + 0.02131)


def test_numbers_of_an_earlier_run_stand_below_the_present_ones():
    """The dot is named after the model."""
    now, before = (CaseResult({}, arm(share(value))) for value in (0.9, 0.7))
    (plot,) = dot_plots(now, "m", before)
    assert plot.dots == (Dot("m", MODEL, 0.9), Dot("m, before", BEFORE, 0.7))


def compared(value, profile=(), contrast=None):
    """A claim that the units of the model lie lower than those of a control."""
    return Measurement("size", value, lower_by=0.36, by_unit=True, profile=profile, contrast=contrast)


def case_of_units():
    made = UnitContrast(0.2, 0.1, 0.25, "made", 0.01, ((0, 0.3), (1, None), (2, 0.1)))
    control = arm(compared(0.9, ((0, 1.0), (2, 0.8)), made))
    return CaseResult({"untrained": control}, arm(compared(0.5, ((0, 0.4), (1, 0.6)))))


def test_a_claim_about_units_is_plotted_on_the_claimed_side():
    """P(higher) = 0.2 is P(lower) = 0.8, with the ends of the interval exchanged."""
    values, plot = dot_plots(case_of_units(), "m")
    assert values.dots == (Dot("m", MODEL, 0.5), Dot("untrained", CONTROL, 0.9))
    assert plot.dots == (Dot("against untrained", MODEL, 0.8, 0.75, 0.9),)
    assert plot.marks == (ReferenceLine("none", 0.5), ReferenceLine("bound", 0.36))
    assert plot.axis == Axis(0.0, 1.0)
    assert plot.claim == "> 0.36 for every control"


def test_a_number_close_to_its_bound_has_the_digits_that_it_has_in_the_reason():
    """Of a measurement, of its limit for controls, and of a comparison with a control."""
    own = arm(share(0.50012, null=0.3))
    (plot,) = dot_plots(CaseResult({"untrained": arm(share(0.30004))}, own), "m")
    assert plot.text_of(plot.dots[0]) == own.measurements[0].value_text == "0.5001"
    assert plot.text_of(plot.dots[1]) == "0.30004"
    made = UnitContrast(0.6397, 0.6, 0.6398, "made", 0.01)
    case = CaseResult({"untrained": arm(compared(0.9, contrast=made))}, arm(compared(0.5)))
    _, plot = dot_plots(case, "m")
    assert plot.text_of(plot.dots[0]) == case.contrasts[0].value_text == "0.3603 [0.3602, 0.4]"


def test_the_ends_of_a_short_axis_differ():
    """Also where their first three digits are the same."""
    assert Axis(0.64, 0.6403).ends == ("0.64", "0.6403")


def test_profiles_have_a_line_for_the_model_and_every_control():
    """Layers are those of any line; a line has None where it has no number."""
    values, against = line_plots(case_of_units(), "m")
    assert values.layers == (0, 1, 2)
    assert values.lines == (Line("m", MODEL, (0.4, 0.6, None)), Line("untrained", CONTROL, (1.0, None, 0.8)))
    assert against.lines == (Line("against untrained", CONTROL, (0.7, None, 0.9)),)
    assert against.lines[0].texts == ["0.7", "undefined", "0.9"]


def test_a_single_layer_has_no_profile():
    """Its number is that of all layers, which a dot shows."""
    control = arm(compared(0.9, ((2, 0.8),), UnitContrast(0.2, 0.1, 0.25, "made", 0.01, ((2, 0.2),))))
    assert line_plots(CaseResult({"untrained": control}, arm(compared(0.5, ((2, 0.4),)))), "m") == []


def test_a_line_is_interrupted_where_a_layer_has_no_number():
    """Neighbours are joined; every number has a point."""
    line = Line("m", MODEL, (0.0, 1.0, None, 0.5))
    plot = LinePlot("size", (0, 1, 2, 3), (line,), fixed=Axis(0.0, 1.0))
    assert plot.path(line) == "M4 96L34.67 4M96 50"
    assert plot.points(line) == "M4 96h0M34.67 4h0M96 50h0"

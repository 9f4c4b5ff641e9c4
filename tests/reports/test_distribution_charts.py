"""The data that charts of distributions draw: quantiles of evidence made by hand."""

from dataclasses import replace

from pytest_unineuron.evidence.distribution import LayerQuantiles
from pytest_unineuron.reports.charts import CONTROL, MODEL, Axis, Line, ReferenceLine
from pytest_unineuron.reports.distribution_charts import Box, distribution_plots
from tests.evidence.made import distribution


def test_a_plot_has_the_model_before_its_controls():
    """Its boxes are the quantiles over all layers, on one logarithmic axis with the value of a Normal."""
    draws = [distribution(control="untrained", draw=draw, at=draw) for draw in (2, 1)]
    plots = distribution_plots([*draws, distribution(at=5.0)])
    ((((boxes, _),),),) = plots.values()
    assert boxes.boxes == (
        Box("m", MODEL, (2.5, 3.75, 5.0, 7.5, 10.0)),
        Box("untrained", CONTROL, (0.5, 0.75, 1.0, 1.5, 2.0)),
        Box("untrained.2", CONTROL, (1.0, 1.5, 2.0, 3.0, 4.0)),
    )
    assert boxes.boxes[0].text == "5 [2.5, 10]"
    assert boxes.axis == Axis(0.5, 10.0, log=True)
    assert boxes.marks == (ReferenceLine("none", 3.0),)


def test_lines_over_layers_are_medians_with_the_middle_nine_tenths():
    """The band of the model is on the axis; those of controls are numbers of the table alone."""
    ((((_, plot),),),) = distribution_plots([distribution(), distribution(control="untrained", at=9.0)]).values()
    assert plot.layers == (0, 1, 2)
    assert plot.lines[0] == Line("m", MODEL, (3.0, 4.0, 5.0), (1.5, 2.0, 2.5), (6.0, 8.0, 10.0))
    assert plot.lines[1].texts == ["9 [4.5, 18]", "10 [5, 20]", "11 [5.5, 22]"]
    assert plot.axis == Axis(1.5, 11.0, log=True)
    assert plot.band(plot.lines[0]).count("L") == 5


def test_units_without_the_statistic_leave_a_gap():
    """Such an arm has no box, and its line is interrupted."""
    rows = (LayerQuantiles(None, 0, ()), LayerQuantiles(0, 0, ()), *distribution().rows[2:])
    ((((boxes, plot),),),) = distribution_plots([replace(distribution(), rows=rows)]).values()
    assert boxes.boxes == (Box("m", MODEL, ()),)
    assert boxes.boxes[0].text == "undefined"
    assert plot.lines[0].values == (None, 4.0, 5.0)
    assert plot.lines[0].texts[0] == "undefined"
    assert plot.band(plot.lines[0]).count("L") == 3


def test_plots_are_by_model_statistic_and_corpus():
    """Universality comes first; a statistic of weights names no corpus; one layer has no profile."""
    kinds = [("composition", ""), ("kurtosis", "prose"), ("kurtosis", "news"), ("excess", "news")]
    found = distribution_plots(distribution(name, corpus, layers=1, model=m) for m in "ab" for name, corpus in kinds)
    assert list(found) == ["a", "b"]
    assert [[each.boxes.title for each in plots] for plots in found["a"]] == [
        ["Excess correlation ϱ with further seeds on news"],
        ["Kurtosis of the pre-activation on news", "Kurtosis of the pre-activation on prose"],
        ["Kurtosis of the vocabulary composition"],
    ]
    assert all(each.layers is None for plots in found["a"] for each in plots)

"""Plots as lines of text: every number at its place, and a block that stays small and closed."""

from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.reports.charts import CONTROL, MODEL, Dot, DotPlot, ReferenceLine
from pytest_unineuron.reports.text_charts import MAX_PLOTS, WIDTH, chart_section, plot_line
from tests.evidence.made import arm, evidence, share

numbers = st.floats(-1e9, 1e9)


def test_a_line_has_the_model_its_interval_the_controls_and_the_bound():
    """They are on one axis, from left to right as their numbers are."""
    dots = (Dot("m", MODEL, 0.8, 0.6, 1.0), Dot("untrained", CONTROL, 0.0, 0.0, 0.1))
    plot = DotPlot("share", "> 0.5", dots, (ReferenceLine("bound", 0.5), ReferenceLine("limit", 0.3)))
    # With margins of 4 %, 0.3 is at column 4 + 0.3 · 92 = 31.6 % of the 24 steps: the eighth.
    assert plot_line(plot, 25) == "0 ·○······╎···┃·─────●────· 1"


@given(st.lists(st.tuples(st.sampled_from([MODEL, CONTROL]), st.none() | numbers), min_size=1), numbers)
def test_every_line_is_of_one_width(found, bound):
    """The model is seen wherever controls and bounds are."""
    dots = tuple(Dot("a", kind, value, value, value) for kind, value in found)
    line = plot_line(DotPlot("t", "c", dots, (ReferenceLine("bound", bound),)))
    drawn = line.split(" ")[1]
    assert len(drawn) == WIDTH
    assert ("●" in drawn) == any(kind == MODEL and value is not None for kind, value in found)


def test_the_section_has_one_plot_for_each_case_that_decides():
    """It stops after some, and says how many the page has beside them."""
    assert chart_section(evidence({})) == []
    run = evidence({(f"t{n}", "news", "m"): arm(share(0.9, error=0.01)) for n in range(MAX_PLOTS + 3)}, primary=True)
    lines = chart_section(run)
    assert sum("●" in line for line in lines[6:]) == MAX_PLOTS
    assert lines[3].endswith("The page has 3 more.")
    assert lines[6:8] == ["✓ PASS GT2 t0[news] on m", "  share, claimed > 0.5"]


def test_names_leave_the_block_closed():
    """The fence is longer than every run of backticks in it, and a name is one line."""
    lines = chart_section(evidence({("````\n``` a", "", "m" * 999): arm(share(0.9))}))
    assert lines[5] == lines[-1] == "`````"
    assert len(lines) == 10
    assert max(map(len, lines[6:])) < 120

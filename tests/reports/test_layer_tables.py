"""What pages show by depth: lines of roles, the grid of matches, and the list of partners."""

from pytest_unineuron.evidence.layer_table import LayerTable
from pytest_unineuron.reports.charts import CONTROL, MODEL, Line
from pytest_unineuron.reports.layer_tables import by_depth
from pytest_unineuron.reports.page import render_page
from tests.evidence.made import evidence

ROLES = ("prediction", "suppression")
TABLES = (
    LayerTable("m", "", "untrained", 1, "roles", ROLES, ((0, 0.0, 0.0), (1, 0.1, 0.0))),
    LayerTable("m", "", "", 1, "roles", ROLES, ((0, 0.0, 0.0), (1, 0.5, 0.0))),
    LayerTable("m", "news", "", 1, "matches", ("layer 0", "layer 1"), ((0, 8, 0), (1, 2, 4))),
    LayerTable("m", "prose", "", 1, "matches", ("layer 0", "layer 1"), ((0, 0, 0), (1, 0, 0))),
    LayerTable("m", "news", "", 1, "partners", ("neuron", "seed"), ((1, 17, "<b>"),)),
)


def test_roles_are_lines_and_matches_a_grid():
    """The model comes before its controls; a role that nobody has, and a text without matches, are left out."""
    ((model, depth),) = by_depth(TABLES).items()
    assert model == "m"
    ((plot),) = depth.roles
    assert plot.title == "Neurons of prediction: share of each layer"
    assert plot.lines == (Line("m", MODEL, (0.0, 0.5)), Line("untrained", CONTROL, (0.0, 0.1)))
    ((grid),) = depth.matches
    assert grid.corpus == "news"
    assert grid.rows == [(0, [(8, 1.0), (0, 0.0)]), (1, [(2, 0.25), (4, 0.5)])]
    assert depth.partners == [TABLES[-1]]


def test_a_page_shows_them_with_text_escaped():
    """A page without tables has no such section."""
    page = render_page(evidence({}, tables=TABLES))
    assert '<td style="--share: 0.25">2</td>' in page
    assert "<bdi>&lt;b&gt;</bdi>" in page
    assert "By depth" not in render_page(evidence({}))

"""``pytest-unineuron neurons``: the table, the files, and wrong arguments."""

import json
from pathlib import Path

import pandas as pd
import pytest

import pytest_unineuron as unineuron
from pytest_unineuron.cli.main import main
from pytest_unineuron.controls import CONTROLS
from pytest_unineuron.corpora import GENERATED
from pytest_unineuron.evidence.measurement import format_number
from pytest_unineuron.models.registry import FAMILIES
from pytest_unineuron.reports.write import REPORT_FILES
from pytest_unineuron.statistics import STATISTICS
from pytest_unineuron.universality.kinds import KINDS
from tests.plugin import test_extensions


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("results"))


@pytest.fixture
def neurons(cache, tmp_path, monkeypatch):
    """A function that runs the command on a little text in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *more: main(["neurons", "nano:neox-a", "--tokens=2000", f"--cache={cache}", *more])


def test_the_table_has_the_highest_first(neurons, capsys):
    """Place, statistics and tokens of as many neurons as were asked for."""
    assert neurons("--top=3", "--layer=1") == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["layer", "index", "kurtosis", "density", "role"]
    rows, strongest, second, promoted, suppressed = (lines[start::5] for start in range(5))
    values = [float(row.split()[2]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert [row.split()[0] for row in rows] == ["1"] * 3
    assert all("[" in line and float(line.split()[0]) for line in (*strongest, *second))
    assert {line.split()[0] for line in promoted} == {"promotes"}
    assert {line.split()[0] for line in suppressed} == {"suppresses"}
    assert max(map(len, lines)) <= 80


def test_files_hold_the_same_rows(neurons, capsys):
    """CSV and JSON can be read back, and the page has a card for each neuron."""
    assert neurons("--top=2", "--by=density", "--lowest", "--csv=n.csv", "--json=n.json", "--html=n.html") == 0
    assert capsys.readouterr().out.splitlines() == ["Written: n.csv", "Written: n.json", "Written: n.html"]
    table = pd.read_csv("n.csv", index_col="neuron")
    rows = json.loads(Path("n.json").read_text(encoding="utf-8"))
    assert [row["neuron"] for row in rows] == list(table.index)
    assert table["density"].is_monotonic_increasing
    assert len(rows[0]["strongest"]) == len(rows[0]["contexts"])
    page = Path("n.html").read_text(encoding="utf-8")
    assert page.count('class="card"') == page.count('class="bar"') == 2


def test_a_model_without_an_unembedding_has_no_roles(tiny, capsys):
    """The table is without them, and says so to who sorts by them."""
    model = tiny("bert")
    assert main(["neurons", str(model), "--tokens=600", "--top=1"]) == 0
    assert "role" not in capsys.readouterr().out.split()
    assert main(["neurons", str(model), "--tokens=600", "--top=1", "--by=vocabulary"]) != 0
    assert "unembedding" in capsys.readouterr().err


def test_vocabulary_shows_the_role_of_each_neuron(neurons, capsys):
    """The highest kurtosis over the vocabulary comes first, with the tokens that are promoted and suppressed."""
    assert neurons("--top=3", "--by=vocabulary") == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["layer", "index", "vocabulary", "kurtosis", "density", "role"]
    values = [float(row.split()[2]) for row in lines[::5]]
    assert values == sorted(values, reverse=True)


def test_excess_is_measured_with_a_seed(neurons, capsys):
    """The seed that was named is compared."""
    assert neurons("--top=1", "--by=excess", "--seed=nano:neox-b", "--csv=n.csv", "--html=n.html") == 0
    assert capsys.readouterr().out.splitlines() == ["Written: n.csv", "Written: n.html"]
    excess = pd.read_csv("n.csv")["excess"][0]
    assert f"excess {format_number(excess)}" in Path("n.html").read_text(encoding="utf-8")


@pytest.fixture
def no_extensions():
    """Remove what a test adds to the tables."""
    yield
    for table in (CONTROLS, STATISTICS, KINDS, GENERATED, FAMILIES, REPORT_FILES):
        for name in list(table.files):
            table.remove(name)


def test_extensions_add_columns_and_corpora(neurons, capsys, no_extensions):
    """A statistic is a column to sort by, and a text of one's own can be read."""
    Path("mine.py").write_text(test_extensions.STATISTIC + test_extensions.OTHERS)
    assert neurons("--top=2", "--extension=mine.py", "--by=peak", "--corpus=laws", "--csv=n.csv") == 0
    table = pd.read_csv("n.csv")
    assert table["peak"].is_monotonic_decreasing
    assert (table["peak"] > table["mean"]).all()
    assert unineuron.open("nano:neox-a", seeds=()).lab.seeds("neox-a") == ("nano:neox-c",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer=4"], "--layer=4: nano:neox-a has neurons in layers 0 to 3"),
        (["--top=0"], "--top=0: give a whole number of at least 1"),
        (["--corpus=prosa"], "did you mean prose?"),
        (["--by=peak"], "--by=peak: no such column; choose from excess, vocabulary, mean,"),
        (["--extension=missing.py"], "missing.py: cannot be imported"),
        (["--tokens=0"], "\n--tokens=0: give a whole number of at least 1"),
        (["--device=gpu"], "\n--device=gpu: cannot be used here"),
        (["--csv=."], "--csv .: cannot be written"),
    ],
)
def test_wrong_arguments_say_what_to_type(neurons, capsys, arguments, message):
    """The status is not 0, and nothing is printed but the error."""
    assert neurons("--top=1", *arguments) != 0
    captured = capsys.readouterr()
    assert message in f"\n{captured.err}"
    assert captured.out == ""

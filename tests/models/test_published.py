"""The paper's published tables: they are read, summarised, and refused with a reason when they are damaged."""

import os
from pathlib import Path

import pytest

from pytest_unineuron.errors import FindingsError
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.loading.load import load_model
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.models.published import TABLES_FOLDER, original_findings, universal_neurons, universal_table
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.roles.neuron_vectors import read_write_cosines

HEADER = "layer,neuron,input_bias,skew,kurt\n"


@pytest.fixture
def checkout(tmp_path):
    """A checkout with one model's tables."""
    folder = tmp_path / TABLES_FOLDER / "stanford-gpt2-medium-a"
    folder.mkdir(parents=True)
    (folder / "universal.csv").write_text(HEADER + "0,1,-0.5,1.0,8.0\n3,7,-0.25,2.0,4.0\n")
    (folder / "prediction_neurons.csv").write_text("layer,neuron,feature\n1,2,dates\n")
    return tmp_path


def universal_csv(checkout):
    return checkout / TABLES_FOLDER / "stanford-gpt2-medium-a" / "universal.csv"


def test_rows_are_counted_and_averaged(checkout):
    """The findings of a model are the sizes of its tables and the means of their columns."""
    assert original_findings(checkout) == {
        "stanford-gpt2-medium-a": {
            "universal": 2,
            "prediction": 1,
            "mean input bias": -0.375,
            "mean skew": 1.5,
            "mean kurtosis": 6.0,
        }
    }


def test_missing_prediction_neurons_are_absent_and_not_zero(checkout):
    """A model without a table of prediction neurons has no number of them."""
    (universal_csv(checkout).parent / "prediction_neurons.csv").unlink()
    assert "prediction" not in original_findings(checkout)["stanford-gpt2-medium-a"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"universal.csv: no such file; the checkout is not complete"),
        ("layer,neuron,skew,kurt\n0,1,2,3\n", r"universal.csv: column 'input_bias' is missing \(found: layer, neuron"),
        (HEADER + "0,1,-0.5,1.0,8.0\n0,2,many,1.0,8.0\n", r"column 'input_bias', row 2: 'many' is not a number"),
        (HEADER + "0,1,,1.0,8.0\n", r"column 'input_bias', row 1: nothing is not a number"),
        (HEADER, "the table has no rows"),
        ("", "not a table"),
    ],
)
def test_a_damaged_table_is_an_error(checkout, content, words):
    """The error names the file, and the column and row of a value that is not a number."""
    if content is None:
        universal_csv(checkout).unlink()
    else:
        universal_csv(checkout).write_text(content)
    with pytest.raises(FindingsError, match=words):
        original_findings(checkout)


def test_a_folder_that_is_no_checkout_is_an_error(tmp_path):
    """The error says which folder to give."""
    with pytest.raises(FindingsError, match="give a checkout of the paper's repository"):
        original_findings(tmp_path)
    (tmp_path / TABLES_FOLDER).mkdir(parents=True)
    with pytest.raises(FindingsError, match="holds no model's tables"):
        original_findings(tmp_path)


def test_a_model_has_its_own_table(checkout, tiny, tmp_path):
    """A table is found by hub id or by the name of a local folder, but not for an untrained or another model."""
    assert universal_table(checkout, parse_source("stanford-crfm/arwen-gpt2-medium-x21")) == universal_csv(checkout)
    assert universal_table(checkout, parse_source("untrained:stanford-crfm/arwen-gpt2-medium-x21")) is None
    # The table of this model is not in the checkout.
    assert universal_table(checkout, parse_source("stanford-crfm/alias-gpt2-small-x21")) is None
    assert universal_table(checkout, parse_source("EleutherAI/pythia-410m")) is None
    link = tmp_path / "stanford-gpt2-medium-a"
    link.symlink_to(tiny("gpt2"), target_is_directory=True)
    # The name of the folder itself counts, not that of a link to it.
    assert universal_table(checkout, parse_source(str(link))) is None


def test_published_neurons_have_positions_in_the_model(checkout):
    """Positions count over layers of any width; a neuron that the model does not have is an error."""
    found = universal_neurons(universal_csv(checkout), [(0, 8), (2, 4), (3, 8)])
    assert list(found.index) == [1, 8 + 4 + 7]
    assert list(found["skew"]) == [1.0, 2.0]
    with pytest.raises(FindingsError, match="neuron 7 of layer 3 is not in the model, which has 4 layers of 4 neurons"):
        universal_neurons(universal_csv(checkout), [(layer, 4) for layer in range(4)])


def test_the_excess_correlation_is_a_number_where_the_table_has_it(checkout):
    """Not every table has it."""
    table = universal_csv(checkout)
    assert "excess_corr" not in universal_neurons(table, [(0, 8), (3, 8)])
    table.write_text("layer,neuron,skew,excess_corr\n0,1,1.0,0.5\n3,7,2.0,0.75\n")
    assert list(universal_neurons(table, [(0, 8), (3, 8)])["excess_corr"]) == [0.5, 0.75]
    table.write_text("layer,neuron,skew,excess_corr\n0,1,1.0,large\n")
    with pytest.raises(FindingsError, match="column 'excess_corr', row 1: 'large' is not a number"):
        universal_neurons(table, [(0, 8)])


def test_a_trial_on_published_neurons_needs_them(trials, checkout):
    """For a model without a table there is one item, NA with the reason, and no control arm."""
    trials.write("""
@pytest.mark.gt2(source='x')
def test_claim(unineuron_published):
    measure('x', 1, above=0)
""")
    found = trials.run("--unineuron-model=nano:neox-a", f"--unineuron-findings={checkout}")
    assert found.outcome("claim") == "NA"
    assert found.reason("claim").startswith("no published neurons of it")
    assert list(found.arms("claim")) == []


@pytest.mark.parametrize(("seed", "outcome"), [("neox-a", "PASS"), ("neox-b", "NA")])
def test_a_table_of_other_weights_is_refused(trials, seed, outcome):
    """A model may have the name of another one: what its neurons read and write tells them apart."""
    folder = trials.path / TABLES_FOLDER / "neox-a"
    folder.mkdir(parents=True)
    loaded = load_model(parse_source(f"nano:{seed}"))
    cosines = read_write_cosines(WeightView(loaded, dissect(loaded)))
    rows = [f"0,{neuron},0,1,5,{cosines[neuron]:.4f}" for neuron in range(0, 60, 3)]
    (folder / "universal.csv").write_text("\n".join(["layer,neuron,input_bias,skew,kurt,in_out_sim", *rows]))
    trials.write("""
@pytest.mark.gt2(source='x', controls=[])
def test_claim(unineuron_published):
    measure('labelled', unineuron_published.sum(), above=19)
""")
    found = trials.run("--unineuron-model=nano:neox-a", "--unineuron-findings=.", "--unineuron-corpus=news")
    (case,) = found.trial("claim")["subjects"]["neox-a"]["cases"]
    assert case["subject"]["outcome"] == outcome, case
    assert ("is not of these weights: its in_out_sim" in case["subject"]["reason"]) is (outcome == "NA")


def test_findings_are_printed_and_reported(trials, checkout):
    """The findings stand in the terminal and in the report, also without any trial on a studied model."""
    trials.write("@pytest.mark.gt1(source='x')\ndef test_claim():\n    measure('x', 1, above=0)")
    found = trials.run("--unineuron-model=nano:neox-a", f"--unineuron-findings={checkout}")
    assert found.report["original_findings"]["stanford-gpt2-medium-a"]["universal"] == 2
    line = "  stanford-gpt2-medium-a: universal 2, prediction 1, mean input bias -0.3750,"
    found.result.stdout.fnmatch_lines(["Original findings*", line])


def test_the_published_tables():
    """The tables of a real checkout give the numbers that were published for GPT2-medium-a."""
    where = os.environ.get("UNINEURON_TEST_FINDINGS", "")
    if not where:
        pytest.skip("set UNINEURON_TEST_FINDINGS to a checkout of wesg52/universal-neurons")
    medium = original_findings(Path(where))["stanford-gpt2-medium-a"]
    assert medium == {
        "universal": 1211,
        "prediction": 136,
        "mean input bias": -0.4861,
        "mean skew": 1.0997,
        "mean kurtosis": 8.1113,
    }

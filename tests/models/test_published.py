"""The paper's published tables: read, summarised, and clearly refused when they are not what they should be."""

import os
from pathlib import Path

import pytest

from pytest_unineuron.errors import FindingsError
from pytest_unineuron.models.loading.source import parse
from pytest_unineuron.models.published import WHERE, read, table, universal

HEADER = "layer,neuron,input_bias,skew,kurt\n"


@pytest.fixture
def checkout(tmp_path):
    """A checkout with one model's tables."""
    folder = tmp_path / WHERE / "stanford-gpt2-medium-a"
    folder.mkdir(parents=True)
    (folder / "universal.csv").write_text(HEADER + "0,1,-0.5,1.0,8.0\n3,7,-0.25,2.0,4.0\n")
    (folder / "prediction_neurons.csv").write_text("layer,neuron,feature\n1,2,dates\n")
    return tmp_path


def universal_csv(checkout):
    return checkout / WHERE / "stanford-gpt2-medium-a" / "universal.csv"


def test_rows_are_counted_and_averaged(checkout):
    """By model."""
    assert read(checkout) == {
        "stanford-gpt2-medium-a": {
            "universal": 2,
            "prediction": 1,
            "mean input bias": -0.375,
            "mean skew": 1.5,
            "mean kurtosis": 6.0,
        }
    }


def test_a_model_without_prediction_neurons(checkout):
    """They are absent, not zero."""
    (universal_csv(checkout).parent / "prediction_neurons.csv").unlink()
    assert "prediction" not in read(checkout)["stanford-gpt2-medium-a"]


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
def test_tables_that_are_not(checkout, content, words):
    """The file is named, and the column where there is one."""
    if content is None:
        universal_csv(checkout).unlink()
    else:
        universal_csv(checkout).write_text(content)
    with pytest.raises(FindingsError, match=words):
        read(checkout)


def test_a_folder_that_is_no_checkout(tmp_path):
    """The error says what to give."""
    with pytest.raises(FindingsError, match="give a checkout of the paper's repository"):
        read(tmp_path)
    (tmp_path / WHERE).mkdir(parents=True)
    with pytest.raises(FindingsError, match="holds no model's tables"):
        read(tmp_path)


def test_a_models_own_table(checkout, tiny, tmp_path):
    """By hub id, or by the name of a local folder; an untrained twin has none, nor has a model nobody published."""
    assert table(checkout, parse("stanford-crfm/arwen-gpt2-medium-x21")) == universal_csv(checkout)
    assert table(checkout, parse("untrained:stanford-crfm/arwen-gpt2-medium-x21")) is None
    assert table(checkout, parse("stanford-crfm/alias-gpt2-small-x21")) is None  # its table is not in this checkout
    assert table(checkout, parse("EleutherAI/pythia-410m")) is None
    named = tmp_path / "stanford-gpt2-medium-a"
    named.symlink_to(tiny("gpt2"), target_is_directory=True)
    assert table(checkout, parse(str(named))) is None  # the name of the folder itself counts, not of a link to it


def test_places_of_published_neurons(checkout):
    """Counted over layers of any width; a neuron the model does not have is an error that says what it has."""
    assert universal(universal_csv(checkout), [(0, 8), (2, 4), (3, 8)]) == [1, 8 + 4 + 7]
    with pytest.raises(FindingsError, match="neuron 7 of layer 3 is not in the model, which has 4 layers of 4 neurons"):
        universal(universal_csv(checkout), [(layer, 4) for layer in range(4)])


def test_a_trial_on_published_neurons_needs_them(trials, checkout):
    """One item per model that says what is missing, and no controls to go through."""
    trials.write("""
@pytest.mark.gt2(source='x')
def test_claim(unineuron_published):
    measure('x', 1, above=0)
""")
    found = trials.run("--unineuron-model=nano:neox-a", f"--unineuron-findings={checkout}")
    assert found.outcome("claim") == "NA"
    assert found.reason("claim").startswith("no published neurons of it")
    assert list(found.arms("claim")) == []


def test_findings_are_printed_and_reported(trials, checkout):
    """In the terminal and in the report, without any trial on a studied model."""
    trials.write("@pytest.mark.gt1(source='x')\ndef test_claim():\n    measure('x', 1, above=0)")
    found = trials.run("--unineuron-model=nano:neox-a", f"--unineuron-findings={checkout}")
    assert found.report["original_findings"]["stanford-gpt2-medium-a"]["universal"] == 2
    line = "  stanford-gpt2-medium-a: universal 2, prediction 1, mean input bias -0.3750, *"
    found.result.stdout.fnmatch_lines(["Original findings*", line])


def test_the_published_tables():
    """The paper's own numbers, where a checkout is at hand."""
    where = os.environ.get("UNINEURON_TEST_FINDINGS", "")
    if not where:
        pytest.skip("set UNINEURON_TEST_FINDINGS to a checkout of wesg52/universal-neurons")
    medium = read(Path(where))["stanford-gpt2-medium-a"]
    assert medium == {
        "universal": 1211,
        "prediction": 136,
        "mean input bias": -0.4861,
        "mean skew": 1.0997,
        "mean kurtosis": 8.1113,
    }

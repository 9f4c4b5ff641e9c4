"""Published numbers are compared with real weights where these can be loaded; their formulas are tested anywhere."""

import csv
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy import stats

from pytest_unineuron import zoo
from pytest_unineuron.errors import ModelError, NotApplicable
from pytest_unineuron.lab.weights import Weights
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.loading.load import load_model
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.models.published import TABLES_FOLDER
from pytest_unineuron.models.registry import FAMILIES
from pytest_unineuron.models.weights.weight_view import WeightView
from tools.reference.reference import PublishedNumber, compute_quantity, published_numbers

COLUMNS = ("w_in_norm", "input_bias", "w_out_norm", "in_out_sim", "l2_penalty", "vocab_var", "vocab_skew", "vocab_kurt")


def load_weights(spec):
    """The weights of a model, or the reason why it cannot be loaded."""
    try:
        loaded = load_model(parse_source(spec))
    except ModelError as error:
        return str(error)
    return Weights(WeightView(loaded, dissect(loaded)))


@cache
def kept_weights(spec):
    return load_weights(spec)


def weights_of(spec, load=kept_weights):
    """The weights of a model; skips the test, with the reason, if it cannot be loaded."""
    weights = load(spec)
    if isinstance(weights, str):
        pytest.skip(weights)
    return weights


def number_of(model, quantity, layer=None, neuron=None):
    return PublishedNumber(model, quantity, layer, neuron, 0.0, 6, "by hand")


@pytest.mark.reference
@pytest.mark.parametrize("row", published_numbers(), ids=lambda r: f"{r.model}-{r.quantity}-{r.layer}.{r.neuron}")
def test_weights_give_the_published_number(row):
    assert compute_quantity(weights_of(row.model), row) == pytest.approx(row.value, abs=row.tolerance)


@pytest.mark.reference
@pytest.mark.parametrize(("spec", "name"), [(row.names, row.table) for row in FAMILIES.values() if row.table])
def test_weights_give_the_published_columns_of_universal_neurons(spec, name):
    rows, weights = published_rows(spec, name), weights_of(spec)
    for column in COLUMNS[:5]:
        ours = [compute_quantity(weights, number_of(spec, column, int(r["layer"]), int(r["neuron"]))) for r in rows]
        np.testing.assert_allclose(ours, [float(r[column]) for r in rows], rtol=1e-3, atol=1e-4, err_msg=column)


def published_rows(spec, name):
    """The rows of the universal neurons of a model; skips the test, with the reason, without a checkout."""
    checkout = os.environ.get("UNINEURON_TEST_FINDINGS", "")
    if not checkout:
        pytest.skip("set UNINEURON_TEST_FINDINGS to a checkout of wesg52/universal-neurons")
    with (Path(checkout) / TABLES_FOLDER / name / "universal.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


SMALL, MEDIUM = "stanford-crfm/alias-gpt2-small-x21", "stanford-crfm/arwen-gpt2-medium-x21"
MEDIUM_SEEDS = next(family.seeds for family in FAMILIES.values() if MEDIUM in family.seeds)


def unit_of(weights, layer, neuron):
    """The number of a neuron among all of a model."""
    return int(np.flatnonzero(weights.layer == layer)[neuron])


@pytest.mark.reference
@pytest.mark.parametrize(
    ("spec", "name", "raising", "lowering"),
    [(SMALL, "stanford-gpt2-small-a", 89, 124), (MEDIUM, "stanford-gpt2-medium-a", 126, 165)],
)
def test_universal_neurons_of_prediction_and_suppression(spec, name, raising, lowering):
    """As many as in the published table, and their moments over the vocabulary are those of the table.

    Pythia is left out: its published moments are also over columns of the unembedding that are no token.
    """
    rows, composition, weights = published_rows(spec, name), weights_of(spec).composition, weights_of(spec)
    units = [unit_of(weights, int(row["layer"]), int(row["neuron"])) for row in rows]
    for column, values in (("vocab_skew", composition.skew), ("vocab_kurt", composition.kurtosis)):
        np.testing.assert_allclose(values[units], [float(row[column]) for row in rows], rtol=1e-2, atol=1e-2)
    assert int(composition.prediction()[units].sum()) == pytest.approx(raising, abs=1)
    assert int(composition.suppression()[units].sum()) == pytest.approx(lowering, abs=1)


@pytest.mark.reference
def test_all_prediction_and_partition_neurons():
    """Of GPT-2 medium, as the progress bars of the paper's notebook prediction_neurons counted them."""
    composition = weights_of(MEDIUM).composition
    assert 1201 <= composition.logit_neurons.sum() <= 1300
    assert (composition.variance > 0.005).sum() <= 100


@pytest.mark.reference
def test_prediction_neurons_by_layer():
    """The mean of five seeds of GPT-2 medium, in its last four layers (Gurnee et al. 2024, legend of figure 6c)."""
    counts = []
    for spec in MEDIUM_SEEDS:  # one model in memory at a time
        weights = weights_of(spec, load_weights)
        counts.append(np.bincount(weights.layer[weights.composition.logit_neurons], minlength=24)[20:])
    np.testing.assert_allclose(np.mean(counts, axis=0), [130.8, 142.2, 207.2, 339.2], atol=1)


@pytest.mark.reference
def test_entropy_neurons_write_opposite_vectors():
    """The entropy neuron of GPT-2 medium and the one that lowers entropy (Gurnee et al. 2024, section 5.2)."""
    layers = weights_of(MEDIUM).role(lambda view: view.layers)
    one, other = (layers[layer].write[neuron].double() for layer, neuron in ((23, 945), (22, 2882)))
    assert float(one @ other / one.norm() / other.norm()) == pytest.approx(-0.886, abs=0.001)


@pytest.mark.reference
def test_published_labels_agree_with_the_sign_of_the_skew():
    """Of the labelled prediction neurons that are universal, all have a kurtosis above 10, and 96 % the sign."""
    universal, weights = published_rows(MEDIUM, "stanford-gpt2-medium-a"), weights_of(MEDIUM)
    path = Path(os.environ["UNINEURON_TEST_FINDINGS"]) / TABLES_FOLDER / "stanford-gpt2-medium-a"
    with (path / "prediction_neurons.csv").open(encoding="utf-8") as file:
        lowers = {
            (row["layer"], row["neuron"]): row["is_surpress"] == "True" for row in reversed([*csv.DictReader(file)])
        }
    both = [key for row in universal if (key := (row["layer"], row["neuron"])) in lowers]
    units = [unit_of(weights, int(layer), int(neuron)) for layer, neuron in both]
    assert len(units) == 56
    assert weights.composition.logit_neurons[units].all()
    agree = weights.composition.suppression()[units] == [lowers[key] for key in both]
    assert np.mean(agree) == pytest.approx(0.964, abs=0.02)


def test_every_published_number_has_a_source_and_a_known_quantity():
    rows = published_numbers()
    assert len(rows) >= 14
    assert all(row.source and row.model.count("/") == 1 for row in rows)
    assert {row.quantity for row in rows} <= {*COLUMNS, "negative raw biases", "neurons"}
    assert len({(row.model, row.quantity, row.layer, row.neuron) for row in rows}) == len(rows)


@pytest.mark.parametrize("column", COLUMNS)
def test_quantities_of_a_neuron_agree_with_numpy(column):
    """The expected values are folded by hand, in float64, from the stored tensors of a trained GPT-2."""
    tensors = load_file(zoo.folders()["gpt2-a"] / "model.safetensors")
    stored = {name.removeprefix("transformer."): value.astype(np.float64) for name, value in tensors.items()}
    layer, neuron = 1, 37
    block = f"h.{layer}."
    gain, shift = stored[f"{block}ln_2.weight"], stored[f"{block}ln_2.bias"]
    raw = stored[f"{block}mlp.c_fc.weight"][:, neuron]
    read = raw * gain - np.mean(raw * gain)
    write = stored[f"{block}mlp.c_proj.weight"][neuron]
    write = write - write.mean()
    unembedding = stored["wte.weight"] * stored["ln_f.weight"]
    unembedding -= unembedding.mean(axis=1, keepdims=True)
    unembedding -= unembedding.mean(axis=0)
    cosine = unembedding @ write / np.linalg.norm(unembedding, axis=1) / np.linalg.norm(write)
    expected = {
        "w_in_norm": np.linalg.norm(read),
        "input_bias": stored[f"{block}mlp.c_fc.bias"][neuron] + raw @ shift,
        "w_out_norm": np.linalg.norm(write),
        "in_out_sim": read @ write / np.linalg.norm(read) / np.linalg.norm(write),
        "l2_penalty": read @ read + write @ write,
        "vocab_var": cosine.var(),
        "vocab_skew": stats.skew(cosine),
        "vocab_kurt": stats.kurtosis(cosine, fisher=False),
    }[column]
    quantity = compute_quantity(kept_weights("nano:gpt2-a"), number_of("x", column, layer, neuron))
    assert quantity == pytest.approx(expected, rel=1e-4)


def test_counts_are_those_of_the_stored_tensors():
    weights = kept_weights("nano:neox-a")
    stored = load_file(zoo.folders()["neox-a"] / "model.safetensors")
    biases = [value for name, value in stored.items() if name.endswith("dense_h_to_4h.bias")]
    negative = sum(int((bias < 0).sum()) for bias in biases)
    assert compute_quantity(weights, number_of("x", "negative raw biases")) == negative
    assert compute_quantity(weights, number_of("x", "neurons")) == sum(map(len, biases))


def test_a_model_without_biases_has_no_number_of_negative_ones(tiny):
    with pytest.raises(NotApplicable, match="no input bias"):
        compute_quantity(kept_weights(str(tiny("llama"))), number_of("x", "negative raw biases"))

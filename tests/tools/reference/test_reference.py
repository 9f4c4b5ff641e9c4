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


@cache
def load_weights(spec):
    """The weights of a model, or the reason why it cannot be loaded."""
    try:
        loaded = load_model(parse_source(spec))
    except ModelError as error:
        return str(error)
    return Weights(WeightView(loaded, dissect(loaded)))


def weights_of(spec):
    """The weights of a model; skips the test, with the reason, if it cannot be loaded."""
    weights = load_weights(spec)
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
    checkout = os.environ.get("UNINEURON_TEST_FINDINGS", "")
    if not checkout:
        pytest.skip("set UNINEURON_TEST_FINDINGS to a checkout of wesg52/universal-neurons")
    weights = weights_of(spec)
    with (Path(checkout) / TABLES_FOLDER / name / "universal.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for column in COLUMNS[:5]:
        ours = [compute_quantity(weights, number_of(spec, column, int(r["layer"]), int(r["neuron"]))) for r in rows]
        np.testing.assert_allclose(ours, [float(r[column]) for r in rows], rtol=1e-3, atol=1e-4, err_msg=column)


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
    quantity = compute_quantity(load_weights("nano:gpt2-a"), number_of("x", column, layer, neuron))
    assert quantity == pytest.approx(expected, rel=1e-4)


def test_counts_are_those_of_the_stored_tensors():
    weights = load_weights("nano:neox-a")
    stored = load_file(zoo.folders()["neox-a"] / "model.safetensors")
    biases = [value for name, value in stored.items() if name.endswith("dense_h_to_4h.bias")]
    negative = sum(int((bias < 0).sum()) for bias in biases)
    assert compute_quantity(weights, number_of("x", "negative raw biases")) == negative
    assert compute_quantity(weights, number_of("x", "neurons")) == sum(map(len, biases))


def test_a_model_without_biases_has_no_number_of_negative_ones(tiny):
    with pytest.raises(NotApplicable, match="no input bias"):
        compute_quantity(load_weights(str(tiny("llama"))), number_of("x", "negative raw biases"))

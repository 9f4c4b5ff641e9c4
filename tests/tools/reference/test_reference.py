"""The paper's numbers against real weights where these can be loaded, and the arithmetic behind them anywhere."""

import csv
import os
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
from tools.reference.reference import Reference, measured, references

COLUMNS = ("w_in_norm", "input_bias", "w_out_norm", "in_out_sim", "l2_penalty", "vocab_var", "vocab_skew", "vocab_kurt")


def weighed(spec):
    loaded = load_model(parse_source(spec))
    return Weights(WeightView(loaded, dissect(loaded)))


@pytest.fixture(scope="module")
def real():
    """A model of the hub, or a skip with what stands in the way."""
    found = {}

    def get(spec):
        if spec not in found:
            try:
                found[spec] = weighed(spec)
            except ModelError as error:
                found[spec] = str(error)
        if isinstance(found[spec], str):
            pytest.skip(found[spec])
        return found[spec]

    return get


@pytest.mark.reference
@pytest.mark.parametrize("row", references(), ids=lambda r: f"{r.model}-{r.quantity}-{r.layer}.{r.neuron}")
def test_a_published_number(real, row):
    """Every row of the table of reference values."""
    assert measured(real(row.model), row) == pytest.approx(row.value, abs=row.within)


@pytest.mark.reference
@pytest.mark.parametrize(("spec", "name"), [(row.names, row.table) for row in FAMILIES if row.table])
def test_published_tables(real, spec, name):
    """The weight columns of every universal neuron, where a checkout of the tables is at hand too."""
    where = os.environ.get("UNINEURON_TEST_FINDINGS", "")
    if not where:
        pytest.skip("set UNINEURON_TEST_FINDINGS to a checkout of wesg52/universal-neurons")
    weights = real(spec)
    with (Path(where) / TABLES_FOLDER / name / "universal.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for column in COLUMNS[:5]:
        ours = [measured(weights, row_of(spec, column, int(r["layer"]), int(r["neuron"]))) for r in rows]
        np.testing.assert_allclose(ours, [float(r[column]) for r in rows], rtol=1e-3, atol=1e-4, err_msg=column)


def row_of(model, quantity, layer=None, neuron=None):
    return Reference(model, quantity, layer, neuron, 0.0, 6, "by hand")


def test_every_reference_says_where_it_comes_from():
    """And is about a quantity that can be measured."""
    rows = references()
    assert len(rows) >= 14
    assert all(row.source and row.model.count("/") == 1 for row in rows)
    assert {row.quantity for row in rows} <= {*COLUMNS, "negative raw biases", "neurons"}
    assert len({(row.model, row.quantity, row.layer, row.neuron) for row in rows}) == len(rows)


@pytest.mark.parametrize("column", COLUMNS)
def test_columns_agree_with_numpy(column):
    """Folding by hand, in float64, from the stored tensors of a trained GPT-2."""
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
    assert measured(weighed("nano:gpt2-a"), row_of("x", column, layer, neuron)) == pytest.approx(expected, rel=1e-4)


def test_counts(tiny):
    """Of the whole model; a model without biases has no share of negative ones."""
    weights = weighed("nano:neox-a")
    stored = load_file(zoo.folders()["neox-a"] / "model.safetensors")
    biases = [value for name, value in stored.items() if name.endswith("dense_h_to_4h.bias")]
    assert measured(weights, row_of("x", "negative raw biases")) == sum(int((bias < 0).sum()) for bias in biases)
    assert measured(weights, row_of("x", "neurons")) == sum(map(len, biases))
    with pytest.raises(NotApplicable, match="no input bias"):
        measured(weighed(str(tiny("llama"))), row_of("x", "negative raw biases"))

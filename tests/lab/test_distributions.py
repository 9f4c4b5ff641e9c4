"""Quantiles of statistics for the report: those of numpy, once for each arm, without a pass of their own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats.mstats import mquantiles

from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.lab.distributions import LEVELS, quantile_rows
from pytest_unineuron.lab.lab import Lab
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.options.settings import Settings

values = st.floats(-1e6, 1e6) | st.just(float("nan"))


@settings(max_examples=30)
@given(st.lists(st.tuples(values, st.integers(0, 3)), min_size=1))
def test_rows_are_quantiles_of_the_units_that_are_known(units):
    """The first row is over all layers, as scipy has it; units that are nan are not counted."""
    found, layer = np.array([v for v, _ in units]), np.array([number for _, number in units])
    whole, *rows = quantile_rows(found, layer)
    assert [row[0] for row in rows] == sorted(set(layer.tolist()))
    for row, of_row in [(whole, found), *((row, found[layer == row[0]]) for row in rows)]:
        known = of_row[~np.isnan(of_row)]
        assert row[1] == len(known)
        expected = mquantiles(known, np.array(LEVELS) / 100, alphap=1, betap=1) if len(known) else []
        np.testing.assert_allclose(row[2:], expected, rtol=1e-3, atol=1e-9)


@pytest.fixture(scope="module")
def lab(tiny):
    asked = Settings(tokens=1000, correlation_tokens=1000, seed=(str(tiny("gpt2", seed=1)),))
    return Lab(asked, {"m": parse_source(str(tiny("gpt2")))}, {"prose": "prose"})


def noted(lab):
    return [event for event in lab.events if event["kind"] == "distribution"]


def test_statistics_are_reported_when_they_are_read(lab):
    """Each of them once, with quantiles of the numbers that trials get, and no forward pass more."""
    arm = Arm("m", "untrained")
    neurons = lab.neurons(arm, "prose")
    kurtosis = neurons.kurtosis
    passes = [event["kind"] for event in lab.events].count("forward_pass")
    weights = lab.weights(Arm("m"))
    assert [(event["statistic"], event["control"]) for event in noted(lab)] == [
        ("kurtosis", "untrained"),
        ("density", "untrained"),
    ]
    layer, units, *quantiles = noted(lab)[0]["rows"][0]
    assert (layer, units) == (None, len(neurons))
    np.testing.assert_allclose(quantiles, np.percentile(kurtosis, LEVELS), rtol=1e-3)
    composition = weights.composition.kurtosis
    assert [(event["statistic"], event["corpus"]) for event in noted(lab)[2:]] == [("composition", "")]
    assert noted(lab)[2]["rows"][1][4] == pytest.approx(np.median(composition[weights.layer == 0]), rel=1e-3)
    assert len(lab.neurons(arm, "prose").density) == len(neurons)
    assert len(noted(lab)) == 3
    assert [event["kind"] for event in lab.events].count("forward_pass") == passes


def test_excess_is_reported_of_the_model_whose_labels_are_permuted(lab):
    """The control has the activations of the model, so they are reported once."""
    excess = lab.universality(Arm("m", "permuted-labels"), "prose").neurons.excess
    lab.universality(Arm("m"), "prose")
    (event,) = [event for event in noted(lab) if event["statistic"] == "excess"]
    assert event["control"] == ""
    assert event["rows"][0][4] == pytest.approx(np.nanmedian(excess), rel=1e-3, abs=1e-4)

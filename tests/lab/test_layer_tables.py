"""Tables by layer for the report: the numbers that trials read, counted by brute force."""

import numpy as np
import pytest

from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.lab.lab import Lab
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.options.settings import Settings


@pytest.fixture(scope="module")
def lab(tiny):
    asked = Settings(tokens=1000, correlation_tokens=1000, seed=tuple(str(tiny("gpt2", seed=n)) for n in (1, 2)))
    return Lab(asked, {"m": parse_source(str(tiny("gpt2")))}, {"prose": "prose"})


def tables(lab, name):
    return [event for event in lab.events if event["kind"] == "table" and event["name"] == name]


def test_matches_and_partners_are_those_of_the_model(lab):
    """Each universal neuron counts once for every seed, and a listed neuron has the partner that correlates most."""
    lab.universality(Arm("m", "untrained"), "prose")
    found = lab.universality(Arm("m"), "prose").neurons
    (table,) = tables(lab, "matches")
    assert table["control"] == ""
    counted = np.zeros((2, 2), dtype=int)
    for unit in np.flatnonzero(found.universal):
        for seed in range(2):
            counted[found.layer[unit], found.partner_layer[seed, unit]] += 1
    assert [row[1:] for row in table["rows"]] == counted.tolist()
    (table,) = tables(lab, "partners")
    layer, neuron, excess, correlation, seed, partner_layer, partner = table["rows"][0]
    width = int((found.layer == 0).sum())
    unit = int(np.nanargmax(found.excess))
    assert (layer * width + neuron, excess) == (unit, pytest.approx(found.excess[unit], abs=1e-4))
    number = found.correlation[:, unit].argmax()
    assert seed == lab.seeds("m")[number]
    assert correlation == pytest.approx(found.correlation[number, unit], abs=1e-4)
    assert partner_layer * width + partner == found.partner[number, unit]
    assert len(table["rows"]) == 20


@pytest.mark.parametrize("control", ["", "shuffled"])
def test_roles_are_shares_of_each_layer(lab, control):
    """They are reported of the model and of every control, once."""
    weights = lab.weights(Arm("m", control))
    for _ in range(2):
        found = weights.composition
    (table,) = [table for table in tables(lab, "roles") if table["control"] == control]
    assert table["columns"] == ["prediction", "suppression", "partition"]
    for layer, *shares in table["rows"]:
        has = found.prediction(), found.suppression(), found.partition
        assert shares == pytest.approx([role[weights.layer == layer].mean() for role in has], abs=1e-4)

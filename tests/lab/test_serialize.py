"""Storing results: they are restored exactly, and a stored file cannot make other objects."""

import json
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from pytest_unineuron.activations.sweep import SweepResult
from pytest_unineuron.lab.serialize import deserialize, serialize, storable_classes
from pytest_unineuron.statistics import STATISTICS, statistic_class
from pytest_unineuron.statistics.correlation import BestMatches, CentredUnits, PairComoments
from pytest_unineuron.statistics.moments import Moments
from pytest_unineuron.universality.choice import Choice
from pytest_unineuron.universality.match import Matches


def statistics(site):
    values = torch.randn(20, 3)
    labels = torch.arange(20) % 4 - 1
    return {
        (site, name): statistic_class(name).of(values.clone(), torch.arange(20), labels)
        for name, (_, sites) in STATISTICS.items()
        if site in sites
    }


def best():
    return BestMatches(torch.tensor([2, -1]), torch.tensor([0.5, torch.nan]), torch.ones(()).expand(2))


def matches():
    units = CentredUnits.of(torch.randn(9, 2))
    pairs = PairComoments.of(units, [(units, torch.tensor([1, 0]))])
    return Matches(Choice(best(), (best(), best()), torch.zeros(2)), torch.zeros(2), torch.zeros(2), (pairs,))


def are_equal(one, other):
    """Whether two objects have equal descriptions and bitwise equal tensors."""
    (description, tensors), (other_description, others) = serialize(one), serialize(other)
    return description == other_description and all(
        tensor.dtype == others[name].dtype and torch.equal(tensor.nan_to_num(nan=7), others[name].nan_to_num(nan=7))
        for name, tensor in tensors.items()
    )


@pytest.mark.parametrize("site", ["pre", "post"])
def test_statistics_are_restored(site):
    """All statistics of a sweep are restored, with their keys."""
    stored = SweepResult((statistics(site), statistics(site)), (20, 20), (3, 4))
    found = deserialize(*serialize(stored))
    assert isinstance(found, SweepResult)
    assert found.tokens == stored.tokens
    assert found.sums[0].keys() == stored.sums[0].keys()
    assert are_equal(stored, found)


def test_matches_are_restored():
    """Expanded tensors and nan are restored."""
    stored = {"matches": {"neurons": [matches()]}, "tokens": 20}
    assert are_equal(stored, deserialize(*serialize(stored)))


def test_tensors_of_any_memory_layout_are_stored():
    """Shared, expanded and empty tensors and views are stored, each as a tensor of its own."""
    moments = Moments.accumulator(4, "cpu").result()  # without batches, all moments are one tensor
    stored = [moments, moments.mean, moments.mean[1:], moments.mean.expand(3, 4), torch.empty(0), torch.empty(0)]
    description, tensors = serialize(stored)
    assert are_equal(stored, deserialize(description, load(save(tensors))))


@dataclass
class Sinks:
    """Has the name and the fields of a class of the package."""

    tokens: int
    share: float


class Pair(NamedTuple):
    """A tuple with names."""

    first: int
    second: int


def test_numbers_that_are_not_finite_and_arrays_of_any_layout_are_restored():
    """JSON has no nan, and torch no array with negative strides or of another byte order."""
    stored = {"nan": float("nan"), "inf": -float("inf"), "back": np.arange(3)[::-1], "big": np.arange(3, dtype=">f4")}
    description, tensors = serialize(stored)
    found = deserialize(json.loads(json.dumps(description, allow_nan=False)), load(save(tensors)))
    assert math.isnan(found["nan"])
    assert found["inf"] == -float("inf")
    assert found["back"].tolist() == [2, 1, 0]
    assert found["big"].tolist() == [0, 1, 2]
    assert serialize(np.array(2.0))[1]["0"].shape == ()


@pytest.mark.parametrize("value", [Sinks(1, 0.5), Pair(1, 2), torch.ones(3, 2).topk(1)])
def test_what_would_be_read_as_something_else_is_not_stored(value):
    with pytest.raises(TypeError, match="cannot be stored"):
        serialize({"found": value})


def test_objects_of_other_classes_are_not_stored():
    """The error comes when the object is written, since it could not be read."""
    with pytest.raises(TypeError, match="a Fraction cannot be stored"):
        serialize({"tokens": Fraction(1, 2)})


@pytest.mark.parametrize(
    "description",
    [
        {"class": "Popen", "fields": {}},
        {"class": "SweepResult", "fields": {"surplus": {"value": 1}}},
        {"call": "os.system"},
        {"tensor": "nowhere"},
        {},
    ],
)
def test_a_description_from_elsewhere_is_refused(description):
    """Unknown classes, fields, calls and tensors are errors."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        deserialize(description, {})


def test_every_statistic_of_a_sweep_can_be_stored():
    """The class of a new statistic need not be listed again."""
    assert {statistic_class(name).__name__ for name in STATISTICS} <= set(storable_classes())

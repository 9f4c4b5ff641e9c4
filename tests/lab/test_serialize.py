"""What is stored comes back as it was, and nothing else can be brought in with it."""

from fractions import Fraction

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


def same(one, other):
    """Whether two descriptions are equal, and so are their tensors, bit by bit."""
    (said, tensors), (also, others) = serialize(one), serialize(other)
    return said == also and all(
        tensor.dtype == others[name].dtype and torch.equal(tensor.nan_to_num(nan=7), others[name].nan_to_num(nan=7))
        for name, tensor in tensors.items()
    )


@pytest.mark.parametrize("site", ["pre", "post"])
def test_statistics_come_back_as_they_were(site):
    """Every statistic that a sweep gathers, with its keys."""
    kept = SweepResult((statistics(site), statistics(site)), (20, 20), (3, 4))
    found = deserialize(*serialize(kept))
    assert isinstance(found, SweepResult)
    assert found.tokens == kept.tokens
    assert found.sums[0].keys() == kept.sums[0].keys()
    assert same(kept, found)


def test_matches_come_back_as_they_were():
    """With the tensors that are expanded, and nan."""
    kept = {"matches": {"neurons": [matches()]}, "tokens": 20}
    assert same(kept, deserialize(*serialize(kept)))


def test_tensors_are_written_however_they_lie():
    """Shared, expanded, a view of another, or empty: once each, and apart."""
    moments = Moments.accumulator(4, "cpu").result()  # of nothing: all moments are one tensor
    kept = [moments, moments.mean, moments.mean[1:], moments.mean.expand(3, 4), torch.empty(0), torch.empty(0)]
    said, tensors = serialize(kept)
    assert same(kept, deserialize(said, load(save(tensors))))


def test_only_classes_of_ours_are_written():
    """What nobody could read back is an error when it is written."""
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
def test_a_description_that_was_not_written_here_is_refused(description):
    """Whatever it asks for."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        deserialize(description, {})


def test_every_statistic_of_a_sweep_can_be_stored():
    """To add one takes no row here."""
    assert {statistic_class(name).__name__ for name in STATISTICS} <= set(storable_classes())

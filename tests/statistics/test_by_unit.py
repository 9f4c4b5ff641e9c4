"""Laws of the comparison of units with those of a control, against brute force."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.statistics.by_unit import by_unit, superiority

values = st.lists(st.integers(-3, 3) | st.just(np.nan), min_size=1, max_size=8)


@dataclass
class Neurons:
    """Values [group, unit] whose mean over groups is a unit's statistic; the layer of each unit."""

    parts: np.ndarray
    layer: np.ndarray
    subject: "Neurons | None" = field(default=None)

    @property
    def groups(self):
        return len(self.parts)

    def without(self, group):
        return Neurons(np.delete(self.parts, group, axis=0), self.layer)

    @property
    def mean(self):
        return self.parts.mean(axis=0)


@dataclass
class Weights:
    """One value of each unit, which comes from no document."""

    values: np.ndarray
    layer: np.ndarray
    subject: "Weights | None" = None


def layers(*sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


@given(values, values)
def test_superiority_is_the_share_of_pairs(model, control):
    """The probability equals a count over all pairs, ties half, without units that have no value."""
    model, control = np.array(model, dtype=float), np.array(control, dtype=float)
    pairs = [(a > b) + 0.5 * (a == b) for a in model for b in control if not np.isnan(a) and not np.isnan(b)]
    found = superiority(model, layers(len(model)), control, layers(len(control)))[0]
    assert found == pytest.approx(np.mean(pairs)) if pairs else np.isnan(found)


def test_layers_weigh_alike_whatever_their_size():
    """A large layer without an effect does not hide a small one, and is not hidden by it."""
    model = Weights(np.r_[np.ones(4), np.zeros(400)], layers(4, 400))
    control = Weights(np.zeros(404), layers(4, 400), subject=model)
    contrast = by_unit(lambda w: w.values, control).contrast
    assert contrast.value == pytest.approx(0.75)
    assert contrast.profile == ((0, 1.0), (1, 0.5))


def test_the_same_groups_are_left_out_of_both_arms():
    """What all units of both arms have in common in one group of documents makes no uncertainty."""
    random = np.random.default_rng(0)
    units, shared = random.normal(size=60), random.normal(size=(8, 1))
    model = Neurons(units + 0.5 + shared, layers(20, 40))
    control = Neurons(units + shared, layers(20, 40), subject=model)
    found = by_unit(lambda n: n.mean, control)
    assert found.contrast.error == pytest.approx((1 / 400 + 1 / 1600) / 4)  # the least step
    assert found.error > 0.01  # the value of the control itself is uncertain


def test_two_samples_of_a_control_are_compared_with_both_of_the_model():
    """A statistic of two texts takes the model's own two."""
    text, other = (Neurons(np.full((4, 3), value), layers(3)) for value in (5.0, 7.0))
    controls = [Neurons(np.full((4, 3), 6.0), layers(3), subject=subject) for subject in (text, other)]
    found = by_unit(lambda a, b: np.minimum(a.mean, b.mean), *controls)
    assert found.value == 6.0
    assert found.contrast.value == 0.0  # the smaller of 5 and 7 is below 6


def test_the_model_itself_is_compared_with_nothing():
    """Without a subject there is a value with its profile, and no contrast."""
    found = by_unit(lambda n: n.mean, Neurons(np.array([[1.0, 2.0, 4.0]] * 3), layers(2, 1)))
    assert found.contrast is None
    assert found.profile == ((0, 1.5), (1, 4.0))
    assert found.value == 2.75


@pytest.mark.parametrize("found", [[1.0, 2.0], 3.0, [[1.0, 2.0, 3.0]]])
def test_a_function_of_another_number_of_values_is_an_error(found):
    with pytest.raises(ValueError, match="numbers for 3 units; return one for each"):
        by_unit(lambda _: np.array(found), Neurons(np.ones((3, 3)), layers(2, 1)))


def test_units_without_documents_are_left_out_in_groups():
    """The interval of weights equals a jackknife over units dealt into groups within layers."""
    random = np.random.default_rng(1)
    model = Weights(random.normal(1, 1, 48), layers(16, 32))
    control = Weights(random.normal(0, 1, 48), layers(16, 32), subject=model)
    found = by_unit(lambda w: w.values, control).contrast
    kept = [np.arange(48) % 16 != group for group in range(16)]
    partial = [
        np.mean(list(superiority(model.values[k], model.layer[k], control.values[k], control.layer[k]).values()))
        for k in kept
    ]
    error = np.sqrt(15 / 16 * np.sum((np.array(partial) - np.mean(partial)) ** 2))
    assert found.error == pytest.approx(error)


@pytest.mark.parametrize("sizes", [(2,), (1, 1), (1, 1, 1, 1), (2, 2), (4,), (8, 8)])
def test_few_units_are_no_evidence(sizes):
    """Of models and controls drawn alike, hardly any are beyond a small effect with their whole interval."""
    random, layer, beyond = np.random.default_rng(0), layers(*sizes), 0
    for _ in range(200):
        model = Weights(random.normal(size=len(layer)), layer)
        found = by_unit(lambda w: w.values, Weights(random.normal(size=len(layer)), layer, subject=model))
        beyond += found.contrast.low > 0.56
    assert beyond <= 200 * 0.05

"""What a lab holds for an arm is let go when the next one begins, without waiting for the garbage collector."""

import gc
import weakref

import numpy as np
import pytest
from transformers import GPT2LMHeadModel

from pytest_unineuron.lab.arm import Arm, Request
from pytest_unineuron.lab.lab import Lab
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.options.settings import Settings
from pytest_unineuron.roles.embedding_basis import dimension_kurtosis
from pytest_unineuron.roles.families import families
from pytest_unineuron.roles.head_circuits import query_key_norms
from pytest_unineuron.universality.seeds import SeedActivations


@pytest.fixture
def collector_off():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collector_off")
def test_the_model_of_a_control_is_freed_when_another_arm_begins(tiny):
    """Weights, statistics and roles that were read of it do not hold it, nor do weights hold themselves."""
    lab = Lab(Settings(tokens=3000), {"m": parse_source(str(tiny("gpt2")))}, {"prose": "prose"})
    arm = Arm("m", "untrained")
    model, weights = (weakref.ref(each) for each in (lab.loaded(arm).model, lab.weights(arm)))
    assert weights() is None
    read = lab.weights(arm)
    assert len(read.composition.kurtosis) == len(read.layer)
    weights = weakref.ref(read)
    del read
    assert weights() is None
    lab.runs(arm, "prose").role(families)
    assert len(lab.neurons(arm, "prose").kurtosis)
    lab.release(arm, Arm("m", "shuffled"))
    assert model() is None
    own = weakref.ref(lab.loaded(Arm("m")).model)
    lab.release(Arm("m", "shuffled"), Arm("m", "rotation"))
    assert own() is not None


@pytest.mark.usefixtures("collector_off")
def test_a_control_is_not_made_again_for_weights_that_were_read_before(tiny, tmp_path):
    """One number per neuron, head, dimension and token is stored; the model itself is loaded, for its digest."""

    def read(arm):
        source = {"m": parse_source(str(tiny("gpt2")))}
        weights = Lab(Settings(tokens=3000), source, {"prose": "prose"}, folder=tmp_path).weights(arm)
        found = [
            *(weights.bias, weights.raw_bias, weights.size, weights.cosine, weights.composition.kurtosis),
            *(weights.embedded([3, 4]), weights.role(query_key_norms), weights.role(dimension_kurtosis)),
        ]
        return found, sum(type(each) is GPT2LMHeadModel for each in gc.get_objects())

    gc.collect()
    first, with_control = read(Arm("m", "reinitialised"))
    gc.collect()
    again, without = read(Arm("m", "reinitialised"))
    assert with_control - without == 1
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("collector_off")
def test_activations_of_seeds_are_freed_with_the_last_comparison_on_a_text(tiny):
    """What the others would ask for is held in memory or stored, so that the next text finds room."""
    arms = [Arm("m"), Arm("m", "untrained")]
    lab = Lab(
        Settings(tokens=2000, correlation_tokens=1000, seed=(str(tiny("gpt2", seed=1)),)),
        {"m": parse_source(str(tiny("gpt2")))},
        {"prose": "prose"},
        requests=[Request(arm, "prose", compares_seeds=True) for arm in arms],
    )
    held = []
    for arm in arms:
        lab.universality(arm, "prose")
        held.append(sum(type(each) is SeedActivations for each in gc.get_objects()))
    assert held == [1, 0]

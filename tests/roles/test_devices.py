"""Roles of a model on two GPUs: tensors of different devices never meet, and results are those of the CPU."""

import pytest
import torch

from pytest_unineuron.roles.composition import composition
from pytest_unineuron.roles.families import families
from pytest_unineuron.roles.head_composition import head_composition
from pytest_unineuron.roles.head_writes import copying, head_kurtosis
from pytest_unineuron.roles.interventions import ablation_effects
from pytest_unineuron.roles.mediation import frequency_mediation, scale_mediation
from pytest_unineuron.roles.neuron_vectors import folded_biases, read_norms, read_write_cosines, write_norms
from pytest_unineuron.roles.null_space import null_space_fractions
from pytest_unineuron.roles.path_ablation import added_attention
from pytest_unineuron.roles.position import position_correlations, position_information
from pytest_unineuron.roles.token_frequency import frequency_correlations, random_correlations
from tests.devices import move_to, simulated_gpus, spread_over
from tests.models.tiny import VOCABULARY
from tests.roles.views import batches, normal, view_of

LAST = torch.tensor([7, 3])
COUNTS = torch.arange(VOCABULARY) % 7
ROLES = {
    "write norms": write_norms,
    "read norms": read_norms,
    "cosines": read_write_cosines,
    "biases": folded_biases,
    "composition": composition,
    "null space": null_space_fractions,
    "frequency": lambda view: frequency_correlations(view, COUNTS),
    "frequency of random directions": lambda view: random_correlations(view, COUNTS, 3, 2),
    "heads and neurons": head_composition,
    "kurtosis of heads": head_kurtosis,
    "copying": copying,
    "scale": lambda view: scale_mediation(view, batches(), LAST),
    "mediated by frequency": lambda view: frequency_mediation(view, batches(), LAST, COUNTS),
    "ablation": lambda view: ablation_effects(view, batches(), normal(2, 96, seed=1) > 1),
    "paths": lambda view: added_attention(view, batches(), torch.tensor([[3, 5], [9, 6]])),
    "position": lambda view: position_correlations(view, batches(4000)),
    "information": lambda view: position_information(view, batches(4000)),
    "families": lambda view: families(view, batches(1000)),
}


def numbers(found):
    """All tensors in what a role returns."""
    if isinstance(found, torch.Tensor):
        return [found]
    parts = found if isinstance(found, tuple) else found.values() if isinstance(found, dict) else vars(found).values()
    return [tensor for part in parts if isinstance(part, torch.Tensor | dict) for tensor in numbers(part)]


@pytest.mark.parametrize("name", ROLES)
def test_a_role_on_gpus_is_that_on_the_cpu(name, monkeypatch):
    expected, moved = numbers(ROLES[name](view_of("gpt2"))), view_of("gpt2")
    spread_over(moved.loaded.model, ("cuda:0", "cuda:1"))
    with simulated_gpus(monkeypatch):
        found = numbers(ROLES[name](moved))
    assert len(found) == len(expected) > 0
    for one, two in zip(found, expected, strict=True):
        assert one.device.type == "cpu"
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("name", ["composition", "null space", "frequency", "kurtosis of heads"])
def test_a_tied_unembedding_may_be_far_from_the_last_norm(name, monkeypatch):
    """It is where the embedding is, on the first device, and the norm is on the last."""
    expected, moved = numbers(ROLES[name](view_of("gpt2"))), view_of("gpt2")
    norm = move_to(moved.loaded.model.transformer.ln_f, "cuda:1")
    spread_over(moved.loaded.model, ("cuda:0", "cuda:1"))
    del norm.forward  # which fetches its inputs to the first device
    with simulated_gpus(monkeypatch):
        for one, two in zip(numbers(ROLES[name](moved)), expected, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4, equal_nan=True)

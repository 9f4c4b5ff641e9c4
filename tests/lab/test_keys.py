"""Keys of results: they depend on what a result depends on, and on nothing that happened before."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.lab.lab import Lab
from pytest_unineuron.lab.results import digest_of
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.options.settings import Settings
from pytest_unineuron.roles.families import families
from pytest_unineuron.roles.interventions import ablation_effects


@pytest.fixture
def with_sinks(tiny, tmp_path):
    """The folder of a model in which the second position has a large norm."""
    folder = shutil.copytree(tiny("gpt2"), tmp_path / "model")
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["transformer.wpe.weight"][1] *= 1000
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def lab(folder, cache):
    return Lab(Settings(tokens=3000), {"m": parse_source(str(folder))}, {"prose": "prose"}, folder=cache)


def test_a_role_is_found_in_the_cache_whether_or_not_sinks_were_found_before(with_sinks, tmp_path):
    first, second = (lab(with_sinks, tmp_path / "cache") for _ in range(2))
    assert first.neurons(Arm("m"), "prose").sinks.tokens
    found = first.runs(Arm("m"), "prose").role(families)
    again = second.runs(Arm("m"), "prose").role(families)
    assert torch.equal(found.own, again.own)
    assert [event["kind"] for event in second.events].count("forward_pass") == 0


def test_runs_over_some_of_the_batches_are_another_result(with_sinks, tmp_path):
    """Every second batch, of half the document groups."""
    first, second = (lab(with_sinks, tmp_path / "cache").runs(Arm("m"), "prose") for _ in range(2))
    groups = [batch.group for batch in first.role(read_batches)]
    thinned = first.thinned(2).role(read_batches)
    assert [batch.group for batch in thinned] == groups[::2]
    sets = torch.eye(2, 96)
    few, whole = (runs.role(ablation_effects, sets) for runs in (first.thinned(2), second))
    assert (few.groups, whole.groups) == (len(set(groups[::2])), len(set(groups)))


def test_few_batches_are_not_thinned(with_sinks, tmp_path):
    """With less text there are fewer document groups, all of which an interval needs."""
    runs = lab(with_sinks, tmp_path / "cache").runs(Arm("m"), "prose")
    whole = len(runs.role(read_batches))
    assert len(runs.thinned(whole).role(read_batches)) == whole


def test_what_an_instrument_is_given_tells_results_apart(with_sinks, tmp_path):
    """Arrays and lists have no digest, so that the instrument is run anew for each."""
    runs = lab(with_sinks, tmp_path / "cache").runs(Arm("m"), "prose")
    assert [runs.role(total, given) for given in (np.array([1, 2]), np.array([5, 5]), [7])] == [3, 10, 7]
    zeros = torch.zeros(4, dtype=torch.bfloat16)
    digests = [digest_of([each]) for each in (zeros, zeros.half(), zeros.view(2, 2), zeros > 1, nn.Parameter(zeros))]
    assert len(set(digests)) == 4
    assert digests[0] == digests[4]


def total(_view, _batches, given):
    return int(sum(given))


def read_batches(_view, batches):
    return batches

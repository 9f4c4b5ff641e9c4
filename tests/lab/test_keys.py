"""Keys of results: they depend on what a result depends on, and on nothing that happened before."""

import math
import os
import shutil
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pytest_unineuron.controls import CONTROLS
from pytest_unineuron.lab.arm import Arm, Request
from pytest_unineuron.lab.instrument import digest_of
from pytest_unineuron.lab.lab import Lab
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.options.settings import Settings
from pytest_unineuron.roles.families import families
from pytest_unineuron.roles.interventions import ablation_effects
from pytest_unineuron.statistics import STATISTICS


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


def test_columns_and_slices_have_the_digest_of_their_values():
    given = torch.arange(12.0).view(3, 4)
    assert digest_of([given[:, 0]]) == digest_of([torch.tensor([0.0, 4.0, 8.0])])
    assert digest_of([given[0, ::2]]) == digest_of([torch.tensor([0.0, 2.0])])


@pytest.mark.parametrize("instrument", [partial(lambda view, scale: scale, scale=float("nan")), lambda view: repr])
def test_anything_that_can_be_called_is_an_instrument(with_sinks, tmp_path, instrument):
    """What is computed may be no number, or nothing that can be stored."""
    found = lab(with_sinks, tmp_path / "cache").weights(Arm("m")).role(instrument)
    assert found is repr or math.isnan(found)


def test_an_instrument_whose_file_was_changed_during_the_run_is_not_stored(with_sinks, tmp_path, monkeypatch):
    """What runs is what was loaded, and the key would have the source that is there now."""
    path = tmp_path / "my_instrument.py"
    path.write_text("def found(view):\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import my_instrument

    first = lab(with_sinks, tmp_path / "cache")
    changed = path.stat().st_mtime + 60
    path.write_text("def found(view):\n    return 2\n")
    os.utime(path, (changed, changed))
    assert first.weights(Arm("m")).role(my_instrument.found) == 1
    os.utime(path, (changed - 120, changed - 120))
    monkeypatch.delitem(sys.modules, "my_instrument")
    import my_instrument

    assert lab(with_sinks, tmp_path / "cache").weights(Arm("m")).role(my_instrument.found) == 2


def test_extensions_of_one_name_and_two_kinds_are_in_the_key(tiny, tmp_path, monkeypatch):
    """A change of either is another result."""
    files = {kind: tmp_path / f"{kind}.py" for kind in ("statistic", "control")}
    for file in files.values():
        file.write_text("")
    monkeypatch.setitem(STATISTICS._rows, "mine", STATISTICS["moments"])
    monkeypatch.setitem(STATISTICS._files, "mine", files["statistic"])
    monkeypatch.setitem(CONTROLS._rows, "mine", CONTROLS["shuffled"])
    monkeypatch.setitem(CONTROLS._files, "mine", files["control"])
    keys = []
    for changed in (None, *files.values()):
        if changed:
            changed.write_text("changed = True")
        keys.append(lab(tiny("gpt2"), None)._results._cache._keys.key(Request(Arm("m", "mine"), "prose", ("pre",))))
    assert keys[0] != keys[1] != keys[2] != keys[0]


def test_a_model_that_hides_its_stream_has_rotated_neurons(tiny, tmp_path, monkeypatch):
    """Only neurons are rotated then."""
    made = lab(tiny("gpt2"), None)
    anatomy = made.anatomy("m")
    hidden = replace(anatomy, layout=replace(anatomy.layout, stream=None))
    monkeypatch.setattr(made._models, "anatomy", lambda model: hidden)
    assert np.isfinite(made.neurons(Arm("m", "rotation"), "prose").kurtosis).all()


def total(_view, _batches, given):
    return int(sum(given))


def read_batches(_view, batches):
    return batches

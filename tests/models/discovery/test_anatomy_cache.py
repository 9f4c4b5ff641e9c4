"""The cache of anatomies: one for each configuration, stored on disk, and verified whenever it is used."""

import json
from dataclasses import asdict, replace

import pytest

from pytest_unineuron.lab.lab import Lab
from pytest_unineuron.models.discovery.anatomy import Anatomy, dissect
from pytest_unineuron.models.discovery.anatomy_cache import AnatomyCache, anatomy_key, revive
from pytest_unineuron.models.discovery.layout import NeuronLayout
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.options.settings import Settings
from tests.models.tiny import build, in_memory, shrunk


def gpt2(**choices):
    return in_memory(build("gpt2", **choices))


@pytest.mark.parametrize("name", ["causal-gpt2", "causal-zamba2", "causal-jetmoe", "seq2seq-t5", "causal-qwen3_next"])
def test_an_anatomy_survives_json(name):
    """An anatomy that is written and read again is equal, with its adapters, experts and heads."""
    found = dissect(shrunk(*name.split("-", 1)))
    assert revive(Anatomy, json.loads(json.dumps(asdict(found)))) == found


def test_another_seed_of_a_model_is_not_dissected_again(tmp_path):
    """Its anatomy comes from the cache of this process or of an earlier one."""
    cache = AnatomyCache(tmp_path)
    first, cached = cache.get_or_dissect(gpt2(seed=0))
    assert not cached
    assert cache.get_or_dissect(gpt2(seed=1)) == (first, True)
    assert AnatomyCache(tmp_path).get_or_dissect(gpt2(seed=2)) == (first, True)


def test_another_configuration_has_another_key():
    """Another pattern for neurons has another key too."""
    others = (gpt2(n_inner=40), gpt2(activation_function="relu"))
    assert len({anatomy_key(gpt2()), *map(anatomy_key, others), anatomy_key(gpt2(), "*.c_proj")}) == 4


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"layout": {"layers": [1]}}'])
def test_a_damaged_file_is_replaced(tmp_path, damage):
    """The model is dissected again and the file is written again."""
    model = gpt2()
    whole, _ = AnatomyCache(tmp_path).get_or_dissect(model)
    (file,) = tmp_path.iterdir()
    file.write_text(damage, encoding="utf-8")
    assert AnatomyCache(tmp_path).get_or_dissect(model) == (whole, False)
    assert AnatomyCache(tmp_path).get_or_dissect(model) == (whole, True)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    """The anatomy is found without the cache."""
    (tmp_path / "file").write_text("")
    found, cached = AnatomyCache(tmp_path / "file").get_or_dissect(gpt2())
    assert found.layout.n_neurons == 96
    assert not cached


def test_a_wrong_anatomy_in_the_cache_is_replaced(tiny, tmp_path):
    """Its identities fail, and the model is dissected after all."""
    source = parse_source(str(tiny("gpt2")))
    true = Lab(Settings(), {"m": source}, {}, folder=tmp_path).anatomy("m")
    (file,) = tmp_path.iterdir()
    layers = true.layout.layers
    swapped = tuple(replace(one, down=two.down) for one, two in zip(layers, layers[::-1], strict=True))
    narrow = tuple(replace(layer, width=layer.width - 1) for layer in layers)
    for wrong in (swapped, narrow):
        file.write_text(json.dumps(asdict(replace(true, layout=NeuronLayout(wrong)))), encoding="utf-8")
        assert Lab(Settings(), {"m": source}, {}, folder=tmp_path).anatomy("m") == true

"""Where things are is remembered by configuration, and never believed unseen."""

import json
from dataclasses import asdict, replace

import pytest

from pytest_unineuron.lab.lab import Lab
from pytest_unineuron.models.discovery.anatomy import Anatomy, dissect
from pytest_unineuron.models.discovery.anatomy_cache import AnatomyCache, anatomy_key, revive
from pytest_unineuron.models.discovery.layout import NeuronLayout
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.options.settings import Settings
from tests.models.tiny import build, tokenizer
from tools.architectures.examine import _Tokens
from tools.architectures.shrink import Entry, tiny


def loaded(architecture="gpt2", **choices):
    return LoadedModel(build(architecture, **choices), tokenizer(), "", None)


@pytest.mark.parametrize("name", ["causal-gpt2", "causal-zamba2", "causal-jetmoe", "seq2seq-t5", "causal-qwen3_next"])
def test_an_anatomy_survives_json(name):
    """All of it, adapters, experts and heads included."""
    mapping, _, model_type = name.partition("-")
    found = dissect(LoadedModel(tiny(Entry(mapping, model_type)), _Tokens(), "", None))
    assert revive(Anatomy, json.loads(json.dumps(asdict(found)))) == found


def test_another_seed_is_not_looked_at_again(tmp_path):
    """In the same process, and in the next one."""
    cache = AnatomyCache(tmp_path)
    first, remembered = cache.get_or_dissect(loaded(seed=0))
    assert not remembered
    assert cache.get_or_dissect(loaded(seed=1)) == (first, True)
    assert AnatomyCache(tmp_path).get_or_dissect(loaded(seed=2)) == (first, True)


def test_another_configuration_is():
    """Whatever differs in it; also another pattern for neurons."""
    keys = {
        anatomy_key(loaded()),
        anatomy_key(loaded(n_inner=40)),
        anatomy_key(loaded(activation_function="relu")),
        anatomy_key(loaded(), "*.c_proj"),
    }
    assert len(keys) == 4


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"layout": {"layers": [1]}}'])
def test_what_is_damaged_is_found_again(tmp_path, damage):
    """And written down again."""
    model = loaded()
    whole, _ = AnatomyCache(tmp_path).get_or_dissect(model)
    (kept,) = tmp_path.iterdir()
    kept.write_text(damage, encoding="utf-8")
    assert AnatomyCache(tmp_path).get_or_dissect(model) == (whole, False)
    assert AnatomyCache(tmp_path).get_or_dissect(model) == (whole, True)


def test_a_folder_that_cannot_be_written_to_loses_nothing(tmp_path):
    """It is a cache."""
    (tmp_path / "file").write_text("")
    found, remembered = AnatomyCache(tmp_path / "file").get_or_dissect(loaded())
    assert found.layout.n_neurons == 96
    assert not remembered


def test_what_is_remembered_wrongly_is_found_again(tiny, tmp_path):
    """The identities notice, and discovery runs after all."""
    source = parse_source(str(tiny("gpt2")))
    lab = Lab(Settings(), {"m": source}, {}, folder=tmp_path)
    true = lab.anatomy("m")
    (kept,) = tmp_path.iterdir()
    turned = NeuronLayout(
        tuple(
            replace(layer, down=other.down)
            for layer, other in zip(true.layout.layers, true.layout.layers[::-1], strict=True)
        )
    )
    narrow = NeuronLayout(tuple(replace(layer, width=layer.width - 1) for layer in true.layout.layers))
    for wrong in (turned, narrow):
        kept.write_text(json.dumps(asdict(replace(true, layout=wrong))), encoding="utf-8")
        again = Lab(Settings(), {"m": source}, {}, folder=tmp_path)
        assert again.anatomy("m") == true

"""Loading: what is found, and one clear sentence for everything that cannot be."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.loading.load import load_model
from pytest_unineuron.models.loading.source import parse_source, sources_by_label
from pytest_unineuron.models.loading.weight_files import weights_digest


@pytest.fixture
def folder(tiny, tmp_path):
    """A copy of a tiny model that a test may damage."""
    return shutil.copytree(tiny("gpt2"), tmp_path / "model")


def weights(folder):
    return folder / "model.safetensors"


def test_a_folder_is_loaded_in_float32_and_ready(folder):
    """With its tokenizer, its context and the digest of its weights."""
    found = load_model(parse_source(str(folder)))
    assert (found.model.dtype, found.model.training, found.context) == (torch.float32, False, 64)
    assert found.weights_digest == weights_digest([weights(folder)])
    assert len(found.weights_digest) == 64


def test_untrained_is_the_same_shape_with_other_weights(folder):
    """Seeded: the same seed gives the same weights, another gives others, and none has a digest."""
    source = parse_source(f"untrained:{folder}")
    first, again, other = (load_model(source, seed=seed) for seed in (0, 0, 1))
    names = ["transformer.h.0.mlp.c_fc.weight"]
    for name in names:
        a, b, c = (m.model.state_dict()[name] for m in (first, again, other))
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
        assert a.std().item() == pytest.approx(0.02, rel=0.1)
    assert first.weights_digest == ""


def test_seeding_an_initialisation_leaves_the_world_alone(folder):
    """The global random state is what it was."""
    before = torch.get_rng_state()
    load_model(parse_source(f"untrained:{folder}"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nano:gpt9", "there is no such nano model; there are .*nano:neox-a"),
        ("./nowhere", "no such folder; give a folder with config.json, a hub id or nano:NAME"),
        ("what is this", "no such folder"),
        ("untrained:nano:gpt9", "there is no such nano model"),
        ("~nobody-of-that-name/model", "a folder cannot have this name"),
        ("a" * 5000, "a folder cannot have this name"),
    ],
)
def test_a_name_that_cannot_be_is_refused_without_loading(spec, words):
    """In one sentence that says what there is."""
    with pytest.raises(ModelError, match=words):
        parse_source(spec)


def test_a_hub_model_that_is_not_cached_says_so_offline():
    """No network in offline mode."""
    with pytest.raises(ModelError, match="model nobody/nothing: it is not in the local cache and the hub cannot be"):
        load_model(parse_source("nobody/nothing"))


def test_revisions_are_read_off_the_name():
    """After an @."""
    source = parse_source("EleutherAI/pythia-70m@step143000")
    assert (source.hub, source.revision) == ("EleutherAI/pythia-70m", "step143000")


def test_a_folder_without_config(tmp_path):
    """Nothing to load."""
    with pytest.raises(ModelError, match=r"the folder has no config.json; save the model with save_pretrained"):
        parse_source(str(tmp_path))


def test_a_folder_without_weights(folder):
    """Not an untrained model by accident."""
    weights(folder).unlink()
    with pytest.raises(ModelError, match=r"there are no weights \(\*.safetensors\)"):
        load_model(parse_source(str(folder)))


def test_a_folder_without_a_tokenizer(folder):
    """Transformers would make an empty one, which reads every text alike."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match=r"its tokenizer (has \d tokens and all of them are special, .*; save|cannot)"):
        load_model(parse_source(str(folder)))


def test_a_tokenizer_of_another_model(folder):
    """More tokens than the embedding has rows."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["added_tokens"] += [
        {**tokenizer["added_tokens"][0], "id": 300 + i, "content": f"<{i}>"} for i in range(9)
    ]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(ModelError, match="its tokenizer has 309 tokens, its embedding 300; save the model's own"):
        load_model(parse_source(str(folder)))


class Bomb:
    """Pickled, this writes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickled_weights_are_refused_and_not_run(folder, tmp_path):
    """A payload in them stays asleep."""
    weights(folder).unlink()
    with (folder / "pytorch_model.bin").open("wb") as file:
        pickle.dump(Bomb(tmp_path / "ran"), file)
    with pytest.raises(ModelError, match=r"its weights are pickled \(pytorch_model.bin\), and unpickling can run code"):
        load_model(parse_source(str(folder)))
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_not_finite(folder):
    """The tensor is named."""
    state = load_file(weights(folder))
    state["transformer.h.1.mlp.c_fc.bias"][3] = float("nan")
    save_file(state, weights(folder), metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"transformer.h.1.mlp.c_fc.bias has values that are not finite"):
        load_model(parse_source(str(folder)))


def test_missing_tensors_are_not_made_up(folder):
    """A library would fill them at random; we refuse."""
    state = load_file(weights(folder))
    del state["transformer.h.0.mlp.c_fc.weight"]
    save_file(state, weights(folder), metadata={"format": "pt"})
    with pytest.raises(ModelError, match="the weight files lack 1 tensors"):
        load_model(parse_source(str(folder)))


@pytest.mark.parametrize("size", [0, 7, 2000])
def test_a_truncated_file(folder, size):
    """Whatever the loader makes of it, one sentence."""
    data = weights(folder).read_bytes()
    weights(folder).write_bytes(data[:size])
    with pytest.raises(ModelError, match="its weights cannot be loaded"):
        load_model(parse_source(str(folder)))


def test_a_configuration_that_is_not_one(folder):
    """Or of an architecture nobody knows."""
    (folder / "config.json").write_text(json.dumps({"model_type": "unheard-of"}))
    with pytest.raises(ModelError, match="its configuration cannot be used"):
        load_model(parse_source(str(folder)))


def test_remote_code_is_never_run(folder, tmp_path):
    """A configuration that asks for it is refused."""
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelError):
        load_model(parse_source(str(folder)))
    assert not (tmp_path / "ran").exists()


def test_labels_are_short_and_unique(folder, tmp_path):
    """Two folders of one name keep their whole path."""
    other = shutil.copytree(folder, tmp_path / "other" / "model")
    assert list(sources_by_label((str(folder), "nano:neox-a"))) == ["model", "neox-a"]
    assert list(sources_by_label((str(folder), str(other)))) == [str(folder), str(other)]
    assert list(sources_by_label(("untrained:nano:neox-a",))) == ["untrained:neox-a"]

"""Loading a folder: what a loaded model is, and one clear sentence for every folder that holds no model."""

import shutil
from importlib.util import find_spec

import pytest
import torch

from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.loading import load as loading
from pytest_unineuron.models.loading.source import parse_source, sources_by_label
from pytest_unineuron.models.loading.weight_files import weights_digest
from tests.models.checkpoints import load
from tests.models.tiny import build


def test_a_folder_is_loaded_in_float32_in_evaluation_mode(llama):
    """A loaded model has its tokenizer's context and the digest of its weights."""
    found = load(llama)
    assert (found.model.dtype, found.model.training, found.context) == (torch.float32, False, 64)
    assert found.weights_digest == weights_digest([llama / "model.safetensors"])
    assert len(found.weights_digest) == 64


def test_an_untrained_model_is_initialised_from_a_seed(tiny):
    """The same seed gives the same weights, another gives others; the global random state does not change."""
    spec = f"untrained:{tiny('gpt2')}"
    before = torch.get_rng_state()
    first, again, other = (load(spec, seed=seed) for seed in (0, 0, 1))
    a, b, c = (m.model.state_dict()["transformer.h.0.mlp.c_fc.weight"] for m in (first, again, other))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert a.std().item() == pytest.approx(0.02, rel=0.1)
    assert first.weights_digest == ""
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
def test_an_impossible_name_is_refused_without_loading(spec, words):
    """The error says which names there are."""
    with pytest.raises(ModelError, match=words):
        parse_source(spec)


def test_labels_are_short_and_unique(llama, tmp_path):
    """Two folders of one name are labelled by their whole path."""
    other = shutil.copytree(llama, tmp_path / "other" / "llama")
    assert list(sources_by_label((str(llama), "nano:neox-a"))) == ["llama", "neox-a"]
    assert list(sources_by_label((str(llama), str(other)))) == [str(llama), str(other)]
    assert list(sources_by_label(("untrained:nano:neox-a",))) == ["untrained:neox-a"]


def test_a_path_may_have_spaces_and_any_letters(llama, tmp_path):
    """A model is loaded from a folder with any name."""
    folder = shutil.copytree(llama, tmp_path / "ein Modell – 模型 ü")
    assert load(folder).folder == folder


def test_a_folder_without_a_whole_model_is_refused(llama):
    """The error names what the folder holds instead: an adapter, weights for another program, or nothing."""
    with pytest.raises(ModelError, match="this is a file; give the folder that it is in"):
        load(llama / "model.safetensors")
    (llama / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    if find_spec("peft") is None:
        with pytest.raises(ModelError, match=r"its folder also holds an adapter .*pip install peft, or remove"):
            load(llama)
    (llama / "config.json").unlink()
    with pytest.raises(ModelError, match=r"this is only an adapter \(adapter_config.json\) for org/base; merge it"):
        load(llama)
    (llama / "adapter_config.json").unlink()
    with pytest.raises(ModelError, match=r"the folder has no config.json; save the model with save_pretrained"):
        parse_source(str(llama))
    (llama / "model.Q4_K.gguf").write_bytes(b"GGUF")
    build("llama").config.save_pretrained(llama)
    (llama / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"in another format \(model.Q4_K.gguf\); give that file itself"):
        load(llama)
    (llama / "model.Q4_K.gguf").unlink()
    with pytest.raises(ModelError, match=r"there are no weights \(\*.safetensors\)"):
        load(llama)


def test_a_model_that_changes_while_it_is_loaded_is_an_error(llama, monkeypatch):
    """No result may be stored under the digest of files that it was not made from."""
    real = loading.load_tokenizer

    def changing(*given):
        config = llama / "config.json"
        config.write_text(config.read_text().replace("{", '{"note": "changed",', 1))
        return real(*given)

    before = load(llama).files_digest
    monkeypatch.setattr(loading, "load_tokenizer", changing)
    with pytest.raises(ModelError, match="its files were changed while it was loaded; run this again"):
        load(llama)
    monkeypatch.undo()
    assert load(llama).files_digest != before

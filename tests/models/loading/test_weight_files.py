"""Weight files: shards, damage, missing tensors, and values that cannot be used."""

import pickle
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from pytest_unineuron.errors import ModelError
from pytest_unineuron.models.loading import load as loading
from pytest_unineuron.models.loading.weight_files import weights_digest
from tests.models.checkpoints import change_json, change_weights, load
from tests.models.tiny import build, tokenizer

DOWN = "model.layers.0.mlp.down_proj.weight"
INDEX = "model.safetensors.index.json"
SECOND = "model-00002-of-00006.safetensors"


def test_a_model_in_shards_is_one_model(shards):
    """Its digest is that of all shards, and of no other file in the folder."""
    files = sorted(shards.glob("*.safetensors"))
    found = load(shards)
    assert len(files) > 3
    assert found.weights_digest == weights_digest(files) != weights_digest(files[1:])
    state = build("llama").state_dict()
    assert all(torch.equal(state[name], value) for name, value in found.model.state_dict().items())
    shutil.copy(files[0], shards / "consolidated.safetensors")
    assert load(shards).weights_digest == found.weights_digest


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda folder: (folder / SECOND).unlink(),
            rf"1 of the 6 weight files that .*index.json names are not there \({SECOND}\); fetch it again",
        ),
        (
            lambda folder: (folder / INDEX).unlink(),
            r"there is neither model.safetensors nor .* are its weights; fetch it again",
        ),
        (lambda folder: (folder / INDEX).write_text("{}"), "does not say which file holds which"),
        (lambda folder: (folder / INDEX).write_text("?"), "does not say which file holds which"),
        (
            lambda folder: (folder / SECOND).write_bytes((folder / SECOND).read_bytes()[:-9]),
            rf"weights cannot be loaded: {SECOND} is damaged or incomplete \(.*fetch it again",
        ),
    ],
)
def test_a_missing_or_damaged_shard_is_named(shards, damage, words):
    """The error comes before anything is loaded."""
    damage(shards)
    with pytest.raises(ModelError, match=words):
        load(shards)


STRAY = "model-00003-of-00009.safetensors"


@pytest.mark.parametrize("folder", ["shards", "llama"])
def test_shards_that_would_be_ignored_are_named(folder, request):
    """They are of another save or model, whether an index names others or one file holds the whole."""
    folder = request.getfixturevalue(folder)
    first = sorted(folder.glob("*.safetensors"))[0]
    shutil.copy(first, folder / STRAY)
    found = rf"1 weight files that would be ignored \({STRAY}; read: {first.name}.*\); remove those that are not"
    with pytest.raises(ModelError, match=found):
        load(folder)


def test_shards_that_repeat_a_whole_file_are_allowed(shards, llama):
    """The library reads the whole file; the index says that the others are the same model."""
    for path in (*shards.glob("*.safetensors"), shards / INDEX):
        shutil.copy(path, llama)
    assert load(llama).weights_digest == weights_digest([llama / "model.safetensors"])


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize(
    ("put", "words"),
    [(lambda path: path.symlink_to("nowhere"), "No such file or directory"), (lambda path: path.mkdir(), "directory")],
)
def test_a_file_that_cannot_be_read_is_named(llama, name, put, words):
    """Such as a link in the cache of the hub to what was deleted there."""
    (llama / name).unlink()
    put(llama / name)
    with pytest.raises(ModelError, match=rf"{name} cannot be read: .*{words}; fetch it again"):
        load(llama)


def test_an_error_that_is_only_a_key_says_that_it_is_missing(llama):
    """An activation function that the library does not know is looked up by its name."""
    change_json(llama / "config.json", hidden_act="nonsense")
    with pytest.raises(ModelError, match="its weights cannot be loaded: KeyError: 'nonsense'"):
        load(llama)


@pytest.mark.parametrize("size", [0, 7, 2000])
def test_a_truncated_file_is_an_error(llama, size):
    """The message is one sentence for any error that the library raises."""
    path = llama / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ModelError, match="its weights cannot be loaded"):
        load(llama)


class Bomb:
    """An object that writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickled_weights_are_never_unpickled(llama, tmp_path):
    """Pickled weights are refused, and a payload in them does not run."""
    (llama / "model.safetensors").unlink()
    with (llama / "pytorch_model.bin").open("wb") as file:
        pickle.dump(Bomb(tmp_path / "ran"), file)
    with pytest.raises(ModelError, match=r"its weights are pickled \(pytorch_model.bin\), and unpickling can run code"):
        load(llama)
    assert not (tmp_path / "ran").exists()


def test_missing_tensors_are_an_error(llama):
    """The library would initialise them at random."""
    change_weights(llama, lambda state: state.pop(DOWN))
    with pytest.raises(ModelError, match="the weight files lack 1 tensors"):
        load(llama)


def test_a_missing_pooler_is_allowed_and_a_missing_head_is_not(tmp_path):
    """No measurement reads the pooler of an encoder."""
    transformers.BertModel(build("bert").config).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    change_weights(tmp_path, lambda state: [state.pop(name) for name in list(state) if "pooler" in name])
    load(tmp_path)
    change_json(tmp_path / "config.json", architectures=["BertForMaskedLM"])
    with pytest.raises(ModelError, match=r"the weight files lack \d tensors \(cls\..*missing weights would be random"):
        load(tmp_path)


def test_tied_weights_are_stored_once_and_not_missing(tmp_path):
    """The unembedding of a tied model is its embedding."""
    build("llama", tie_word_embeddings=True).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    model = load(tmp_path).model
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_tensors_of_another_shape_are_an_error(llama):
    """A configuration of another size does not fit the files."""
    change_json(llama / "config.json", intermediate_size=56)
    with pytest.raises(ModelError, match=r"6 tensors .* another shape .*: \(32, 48\), not \(32, 56\)\); fetch both"):
        load(llama)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_a_single_value_that_is_not_finite_is_an_error(llama, value, dtype, monkeypatch):
    """It is found in any precision and at any position, also in the last of several chunks."""
    monkeypatch.setattr(loading, "FINITE_CHUNK", 7)
    change_weights(llama, lambda state: state[DOWN].__setitem__((-1, -1), value))
    with pytest.raises(ModelError, match=rf"{DOWN} has values that are not finite; the weights are damaged"):
        load(llama, dtype=dtype)


def test_values_too_large_for_float16_are_not_reported_as_damage_alone(llama):
    """They would be infinite in float16; the error suggests bfloat16, in which they are finite."""
    change_weights(llama, lambda state: state[DOWN].__setitem__((0, 0), 1e6))
    with pytest.raises(ModelError, match="damaged, or too large for float16: try --unineuron-dtype=bfloat16"):
        load(llama, dtype="float16")
    load(llama, dtype="bfloat16")


@pytest.mark.parametrize(
    ("stored", "name"), [(torch.float8_e4m3fn, "F8_E4M3"), (torch.int8, "I8"), (torch.int32, "I32")]
)
def test_numbers_without_their_scale_are_an_error(llama, stored, name):
    """The library would convert them without a warning."""
    change_weights(llama, lambda state: state.update({DOWN: state[DOWN].mul(9).to(stored)}))
    with pytest.raises(ModelError, match=rf"{DOWN} is stored as {name}, and its config.json does not say how to read"):
        load(llama)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_layers_beyond_the_configuration_are_an_error(llama, prefix):
    """A configuration with fewer layers than the files would measure a part of the model in silence.

    The files of a base model lack the prefix of the class that has a head.
    """
    change_weights(llama, lambda state: state.update(with_prefix(state, prefix)))
    change_json(llama / "config.json", num_hidden_layers=1)
    with pytest.raises(ModelError, match=rf"hold \d+ tensors of layers that its config.json does not have \({prefix}l"):
        load(llama)


def with_prefix(state, prefix):
    """Take the tensors of the base model out of ``state`` and return them under another prefix."""
    names = [name for name in state if name.startswith("model.")]
    return {prefix + name.removeprefix("model."): state.pop(name) for name in names}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.layers.0.self_attn.q_proj.lora_A.weight", "of an adapter"),
        ("base_model.model.layers.0.mlp.ia3_l", "of an adapter"),
        ("model.layers.0.self_attn.q_proj.oft_R.weight", "of an adapter"),
        ("prompt_embeddings", "of an adapter"),
        ("model.layers.0.adapter.down.weight", "in its layers"),
        ("layers.0.mlp.up_proj.bias", "in its layers"),
        ("model.layers.0.self_attn.q_norm.weight", "in its layers"),
    ],
)
def test_tensors_that_would_be_ignored_are_an_error(llama, name, words):
    """An adapter without adapter_config.json is merged by nothing; heads and buffers of other classes are allowed."""
    others = ("score.weight", "model.pooler.dense.weight", "model.layers.0.self_attn.bias")
    others = (*others, "model.layers.0.self_attn.rotary_emb.inv_freq")
    change_weights(llama, lambda state: state.update({other: torch.zeros(2, 8) for other in others}))
    load(llama)
    change_weights(llama, lambda state: state.update({name: torch.zeros(2, 8)}))
    with pytest.raises(ModelError, match=rf"hold 1 tensors {words} \({name}, …\) that .*"):
        load(llama)


def test_the_file_of_an_adapter_without_its_configuration_is_an_error(llama):
    """The library reads it only where adapter_config.json is."""
    save_file({"x.lora_A.weight": torch.zeros(2, 8)}, llama / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"holds adapter_model.safetensors, which is ignored without adapter_config"):
        load(llama)

"""Copies of models, recognised by their weights in whatever file, shards, order or precision."""

import json
import shutil

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from pytest_unineuron import zoo
from pytest_unineuron.models.loading.load import load_model
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.models.loading.weight_samples import COPIED, samples_of_files, samples_of_model, share_same
from pytest_unineuron.models.registry import reason_not_new
from tests.models.checkpoints import change_weights
from tests.models.tiny import configuration

STUDIED = zoo.folders()["gpt2-b"]
WEIGHTS = STUDIED / "model.safetensors"


def _rewritten(change):
    """A function that copies a model and rewrites its tensors."""

    def write(model, folder):
        shutil.copytree(model, folder)
        change_weights(folder, change)

    return write


def _cast(dtype):
    return _rewritten(lambda state: state.update({name: tensor.to(dtype) for name, tensor in state.items()}))


def _saved(kind, **choices):
    """A function that loads a model as a class and saves it again."""
    return lambda model, folder: kind.from_pretrained(model).save_pretrained(folder, **choices)


def _renamed(model, folder):
    shutil.copytree(model, folder)
    state = load_file(folder / "model.safetensors")
    save_file({f"{len(state) - i}.w": tensor for i, tensor in enumerate(state.values())}, folder / "model.safetensors")


def _in_four_bits(state):
    """Round every row to 16 levels between its extremes."""
    for name, tensor in state.items():
        if tensor.ndim > 1:
            low, high = tensor.float().aminmax(dim=1, keepdim=True)
            step = (high - low) / 15
            state[name] = ((tensor.float() - low) / step).round() * step + low


COPIES = {
    "folder": shutil.copytree,
    "float64": _cast(torch.float64),
    "float32": _cast(torch.float32),
    "bfloat16": _cast(torch.bfloat16),
    "four bits": _rewritten(_in_four_bits),
    "shards": _saved(AutoModelForCausalLM, max_shard_size="300KB"),
    "without a head": _saved(AutoModel),
    "other names": _renamed,
    "trained on": _rewritten(lambda state: [t.mul_(1 + 0.01 * torch.randn(t.shape)) for t in state.values()]),
}


@pytest.fixture(params=COPIES)
def copied(request, tmp_path):
    """A copy of a studied model in a folder of another name."""
    folder = tmp_path / "mine"
    COPIES[request.param](STUDIED, folder)
    return folder


def test_a_copy_of_a_studied_model_is_not_new(copied):
    """The reason names the model that it is a copy of. Untrained weights of its configuration are new."""
    reason = reason_not_new(parse_source(str(copied)))
    assert (
        reason
        == "not a new model: its weights are those of nano:gpt2-b, the zoo's stand-in for the paper's GPT-2 models"
    )
    assert reason_not_new(parse_source(f"untrained:{copied}")) == ""


def test_a_copy_in_a_gguf_file_is_not_new(tmp_path):
    """There most matrices have other names, and are turned."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "mine.gguf", "gpt2")
    for number, tensor in enumerate(load_file(WEIGHTS).values()):
        values = tensor.T if tensor.ndim > 1 else tensor
        writer.add_tensor(f"blk.{number}.weight", np.ascontiguousarray(values.float().numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert reason_not_new(parse_source(str(tmp_path / "mine.gguf"))).startswith("not a new model: its weights are")


@pytest.mark.parametrize("name", ["neox-a", "neox-b"])
def test_a_copy_of_a_new_model_is_new(name, tmp_path):
    """It has some matrices of the same shapes."""
    shutil.copytree(zoo.folders()[name], tmp_path / "mine")
    assert reason_not_new(parse_source(str(tmp_path / "mine"))) == ""


@pytest.mark.parametrize("scale", [1, 0])
def test_a_model_of_the_same_shapes_is_new(scale, tmp_path):
    """Another initialisation, or weights that are all zero."""
    config = AutoConfig.from_pretrained(STUDIED)
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        parameter.data.mul_(scale)
    model.save_pretrained(tmp_path)
    assert reason_not_new(parse_source(str(tmp_path))) == ""


@pytest.mark.parametrize("damage", [b"", b"\xff" * 40, b"\2\0\0\0\0\0\0\0[]", WEIGHTS.read_bytes()[:5000]])
def test_damaged_weights_are_left_to_the_loader(damage, tmp_path):
    """There is no error when the model is collected."""
    shutil.copytree(STUDIED, tmp_path / "mine")
    (tmp_path / "mine/model.safetensors").write_bytes(damage)
    assert reason_not_new(parse_source(str(tmp_path / "mine"))) == ""


@pytest.mark.parametrize("spec", ["me/mycopy", "me/mycopy@main", "me/mycopy@0f1e0f1e"])
def test_a_copy_on_the_hub_is_not_new_once_it_is_cached(spec, tmp_path, monkeypatch):
    """Before that, and for another revision, there are no weights to compare."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert reason_not_new(parse_source(spec)) == ""
    shutil.copytree(STUDIED, tmp_path / "models--me--mycopy/snapshots/0f1e0f1e")
    (tmp_path / "models--me--mycopy/refs").mkdir()
    (tmp_path / "models--me--mycopy/refs/main").write_text("0f1e0f1e")
    assert reason_not_new(parse_source(spec)).startswith("not a new model: its weights are those of nano:gpt2-b")
    assert reason_not_new(parse_source(f"untrained:{spec}")) == ""
    assert reason_not_new(parse_source("me/mycopy@v2")) == ""
    assert reason_not_new(parse_source("no--model/of-the-hub")) == ""


def test_studied_models_in_the_cache_of_the_hub_are_known(tmp_path, monkeypatch):
    """Those that the paper studied, and no others."""
    for name, weights in (("stanford-crfm--alias-gpt2-small-x21", "neox-b"), ("someone--else", "neox-c")):
        shutil.copytree(zoo.folders()[weights], tmp_path / f"models--{name}/snapshots/0f1e")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    found = []
    for weights in ("neox-b", "neox-c"):
        found.append(
            reason_not_new(parse_source(shutil.copytree(zoo.folders()[weights], tmp_path / weights).as_posix()))
        )
    assert found[0].startswith(
        "not a new model: its weights are those of stanford-crfm/alias-gpt2-small-x21, GPT2-small"
    )
    assert found[1] == ""


def test_values_are_read_as_the_library_reads_them(tmp_path):
    """Corners of tensors of every precision, and of more than two dimensions, from files and in memory."""
    state = {
        f"{number}": torch.randn(shape).to(dtype)
        for number, (shape, dtype) in enumerate(
            [((70, 90), torch.float32), ((90, 3, 40), torch.bfloat16), ((2, 5), torch.float16), ((9, 9), torch.float64)]
        )
    }
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({}))
    found = samples_of_files(parse_source(str(tmp_path)))
    expected = {
        (70, 90): state["0"][:64, :64],
        (90, 120): state["1"].flatten(1)[:64, :64],
        (2, 5): state["2"],
        (9, 9): state["3"],
    }
    assert set(found) == set(expected)
    for shape, (corner,) in found.items():
        np.testing.assert_array_equal(corner, expected[shape].double().numpy())


def test_a_copy_with_fused_projections_is_a_copy():
    """Most matrices of the smaller file are in the other one, whichever of both is asked first."""
    torch.manual_seed(0)
    fused, split = (AutoModelForCausalLM.from_config(configuration(kind)) for kind in ("phi3", "llama"))
    state = {}
    for name, tensor in fused.state_dict().items():
        if "qkv_proj" in name:
            parts = zip("qkv", tensor.split([32, 16, 16]), strict=True)
            state.update({name.replace("qkv_proj", f"{letter}_proj"): part for letter, part in parts})
        elif "gate_up_proj" in name:
            parts = zip(("gate_proj", "up_proj"), tensor.chunk(2), strict=True)
            state.update({name.replace("gate_up_proj", half): part for half, part in parts})
        else:
            state[name] = tensor
    split.load_state_dict(state)
    one, other = samples_of_model(fused), samples_of_model(split)
    assert share_same(one, other) == share_same(other, one) > COPIED


def test_seeds_of_one_family_have_no_matrix_in_common():
    """In memory and in their files; a model has all matrices in common with itself."""
    sources = [parse_source(f"nano:{name}") for name in ("gpt2-a", "gpt2-b", "gpt2-c", "neox-a", "neox-b", "neox-c")]
    in_files = [samples_of_files(source) for source in sources]
    for number, source in enumerate(sources):
        in_memory = samples_of_model(load_model(source).model)
        assert [share_same(in_memory, each) for each in in_files] == [float(i == number) for i in range(6)]
    assert 0 < COPIED < 1

"""The precision and the devices that weights are loaded in."""

from importlib.util import find_spec

import pytest
import torch
import transformers

from pytest_unineuron.controls.reinitialised import reinitialised
from pytest_unineuron.controls.shuffled import shuffled
from pytest_unineuron.controls.untrained import untrained
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.discovery.verification import verify
from pytest_unineuron.models.loading import devices
from pytest_unineuron.models.loading.forward import run_model
from tests.models.checkpoints import load
from tests.models.tiny import build, in_memory, tokenizer

DOWN = "model.layers.0.mlp.down_proj.weight"


@pytest.fixture
def loader_arguments(monkeypatch):
    """The keyword arguments of every call of the library's loader for llamas."""
    calls = []
    real = transformers.LlamaForCausalLM.from_pretrained.__func__
    recorded = classmethod(lambda kind, *args, **kwargs: calls.append(kwargs) or real(kind, *args, **kwargs))
    monkeypatch.setattr(transformers.LlamaForCausalLM, "from_pretrained", recorded)
    return calls


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_weights_have_the_precision_that_is_asked_for(tmp_path, stored):
    """The stored precision does not matter; values that are not stored keep their own precision."""
    model = build("llama").to(stored)
    model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        found = load(tmp_path, dtype=str(dtype).removeprefix("torch."))
        assert {p.dtype for p in found.model.parameters()} == {dtype}
        assert torch.equal(found.model.get_parameter(DOWN), model.get_parameter(DOWN).to(dtype))
        assert found.model.model.rotary_emb.inv_freq.dtype == torch.float32


def test_weights_are_read_in_their_final_precision(llama, loader_arguments):
    """The loader itself is asked for the precision, so that memory holds the weights once."""
    load(llama, dtype="bfloat16")
    assert [call["dtype"] for call in loader_arguments] == [torch.bfloat16]


def test_weights_are_read_onto_another_device_if_accelerate_is_there(llama, loader_arguments, monkeypatch):
    """Without accelerate they are read into the memory of the machine first."""
    load(llama)
    if find_spec("accelerate") is not None:
        assert load(llama, device="cpu:0").model.device.type == "cpu"
        assert [call.get("device_map") for call in loader_arguments] == [None, "cpu:0"]
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    load(llama, device="cpu:0")
    assert loader_arguments[-1].get("device_map") is None


@pytest.mark.parametrize("device", devices.SPREAD_MODES)
def test_a_spread_model_has_the_same_weights(llama, device):
    """On a machine with a CPU alone, a spread model is the same as any other, loaded or untrained."""
    pytest.importorskip("accelerate")
    for spec in (f"{llama}", f"untrained:{llama}"):
        plain, spread = (load(spec, device=where) for where in ("cpu", device))
        assert {p.device.type for p in spread.model.parameters()} == {"cpu"}
        for name, weight in plain.model.named_parameters():
            assert torch.equal(weight, spread.model.get_parameter(name))


@pytest.mark.parametrize("control", [untrained, shuffled, reinitialised])
def test_a_control_of_a_spread_model_is_spread_the_same_way(llama, control):
    """Every part of a control has hooks of its own, and the control computes the same as on one device."""
    accelerate = pytest.importorskip("accelerate")
    plain = load(llama)
    ids = probe_ids(plain, rows=2)
    attended = torch.ones_like(ids)
    expected = run_model(control(plain.model, 1), ids, attended)[0]
    spread = load(llama).model
    parts = {"lm_head": "cpu", **{f"model.{name}": "cpu" for name, _ in plain.model.model.named_children()}}
    accelerate.dispatch_model(spread, parts, force_hooks=True)
    twin = control(spread, 1)
    assert torch.equal(run_model(twin, ids, attended)[0], expected)
    verify(twin, dissect(in_memory(twin, plain.tokenizer)).layout, ids)
    own_parts = {id(part) for part in twin.modules()}
    hooked = [part for part in twin.modules() if hasattr(part, "_hf_hook")]
    assert bool(hooked) == (control is not untrained)  # an untrained model of one device needs no hooks
    assert all(id(part.forward.args[0]) in own_parts for part in hooked)


def test_an_untrained_model_is_the_same_in_every_precision(llama):
    """It is drawn in float32 and rounded."""
    wide, narrow = (load(f"untrained:{llama}", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert torch.equal(wide.model.get_parameter(DOWN).bfloat16(), narrow.model.get_parameter(DOWN))
    assert narrow.model.model.rotary_emb.inv_freq.dtype == torch.float32


@pytest.mark.parametrize(("mapping", "architecture"), [("seq2seq", "t5"), ("masked", "deberta"), ("causal", "mixtral")])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_neurons_are_found_in_every_precision(saved, mapping, architecture, dtype):
    """These models keep some weights in float32, convert not all, or choose kernels by precision."""
    found = load(saved(mapping, architecture)[0], dtype=dtype)
    in_float32 = {name for name, p in found.model.named_parameters() if p.dtype != getattr(torch, dtype)}
    assert all(".wo." in name for name in in_float32)
    assert bool(in_float32) == (architecture == "t5" and dtype == "float16")
    verify(found.model, dissect(found).layout, probe_ids(found, rows=2))
    fresh = load(f"untrained:{found.folder}", dtype=dtype)
    assert {name for name, p in fresh.model.named_parameters() if p.dtype != getattr(torch, dtype)} == in_float32
    ids = probe_ids(fresh)
    run_model(fresh.model, ids, torch.ones_like(ids))

"""Tiny models are what they are for: small, the same every time, running, and telling by their widths."""

import csv
from importlib.resources import files

import pytest
import torch

from tools.architectures import truth
from tools.architectures.shrink import DEFAULT, EQUAL, MAPPINGS, WIDE_HEADS, Entry, entries, inputs, tiny

SAMPLE = [
    Entry("causal", "deepseek_v3"),
    Entry("causal", "gemma3"),
    Entry("causal", "gpt2"),
    Entry("causal", "jamba"),
    Entry("causal", "llama"),
    Entry("causal", "mixtral"),
    Entry("masked", "bert"),
    Entry("masked", "squeezebert"),
    Entry("seq2seq", "switch_transformers"),
    Entry("seq2seq", "t5"),
]
EXPERTS = [(f"model.layers.{layer}.mlp.experts.down_proj", expert) for layer in (0, 1) for expert in range(4)]
TRUTH = {
    Entry("causal", "gpt2"): [("transformer.h.0.mlp.c_proj.weight", None), ("transformer.h.1.mlp.c_proj.weight", None)],
    Entry("causal", "llama"): [(f"model.layers.{layer}.mlp.down_proj.weight", None) for layer in (0, 1)],
    Entry("causal", "mixtral"): EXPERTS,
    Entry("masked", "bert"): [(f"bert.encoder.layer.{layer}.output.dense.weight", None) for layer in (0, 1)],
    Entry("seq2seq", "t5"): [
        (f"{stack}.block.{layer}.layer.{sublayer}.DenseReluDense.wo.weight", None)
        for stack, sublayer in (("encoder", 1), ("decoder", 2))
        for layer in (0, 1)
    ],
}


def test_every_architecture_is_an_entry():
    assert len(entries()) == len(set(entries())) == sum(map(len, MAPPINGS.values()))


@pytest.mark.parametrize("entry", SAMPLE, ids=str)
def test_a_tiny_model_is_small_and_runs(entry):
    """Finite output that the input decides, with and without gradients."""
    model = tiny(entry)
    given = inputs(model)
    assert not model.training
    assert sum(p.numel() * p.element_size() for p in model.parameters()) < 5 * 2**20
    with torch.no_grad():
        plain = model(**given).logits
    graded = model(**given).logits
    assert plain.isfinite().all()
    assert plain.std() > 0.1
    assert graded.requires_grad
    torch.testing.assert_close(plain, graded, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("entry", SAMPLE, ids=str)
def test_a_seed_is_a_model(entry):
    """And neither uses nor moves the global generator."""
    state = torch.random.get_rng_state()
    first, again, other = tiny(entry), tiny(entry), tiny(entry, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    for (name, p), q, r in zip(first.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q), name
        assert not torch.equal(p, r), name


@pytest.mark.parametrize("entry", SAMPLE, ids=str)
def test_no_weight_is_dead(entry):
    """No matrix is zero, no gain is one."""
    for name, parameter in tiny(entry).named_parameters():
        assert parameter.std() > 0.05 or parameter.numel() == 1, name


@pytest.mark.parametrize("entry", SAMPLE, ids=str)
def test_only_mlps_have_their_widths(entry):
    """Nothing else that runs reads a width that says MLP."""
    model = tiny(entry)
    places = {path for path, _ in truth.expected(model, inputs(model))}
    read = truth.readings(model, inputs(model))
    assert places
    assert not {(r.path, r.width) for r in read if r.path not in places and r.width in DEFAULT.widths}


@pytest.mark.parametrize("shape", [EQUAL, WIDE_HEADS], ids=["equal", "wide heads"])
def test_other_shapes_have_the_same_neurons_elsewhere(shape):
    """The same parameters with other sizes: a shape changes no path."""
    for entry in (Entry("causal", "llama"), Entry("causal", "mixtral"), Entry("seq2seq", "t5")):
        model = tiny(entry, shape)
        assert model(**inputs(model)).logits.isfinite().all()
        assert [n for n, _ in model.named_parameters()] == [n for n, _ in tiny(entry).named_parameters()]


def test_heads_can_be_wider_than_the_model():
    assert tiny(Entry("causal", "llama"), WIDE_HEADS).model.layers[0].self_attn.o_proj.in_features == 64


@pytest.mark.parametrize("entry", TRUTH, ids=str)
def test_the_truth(entry):
    """Known by hand."""
    model = tiny(entry)
    assert truth.expected(model, inputs(model)) == frozenset(TRUTH[entry])


def test_experts_that_no_token_went_to_are_listed():
    """One token has two experts of four, stored together or as modules of their own."""
    together = tiny(Entry("causal", "mixtral"))
    assert truth.expected(together, inputs(together, tokens=1)) == frozenset(EXPERTS)
    apart = tiny(Entry("seq2seq", "switch_transformers"))
    places = truth.expected(apart, inputs(apart, tokens=1))
    assert {path.split("expert_")[1] for path, _ in places if ".experts." in path} == {
        f"{expert}.wo.weight" for expert in range(4)
    }


def test_the_truth_leaves_the_model_as_it_was():
    model = tiny(Entry("causal", "mixtral"))
    before = model.config._experts_implementation
    truth.expected(model, inputs(model))
    assert model.config._experts_implementation == before


def test_widths_that_tell_nothing_are_refused():
    model = tiny(Entry("causal", "llama"), EQUAL)
    with pytest.raises(ValueError, match="widths do not tell MLPs"):
        truth.expected(model, inputs(model), EQUAL)


def test_every_exception_has_a_reason_and_is_about_something():
    table = list(csv.DictReader(files("tools.architectures").joinpath("exceptions.csv").read_text().splitlines()))
    types = {entry.model_type for entry in (*entries(), *entries(held_out=True))}
    keys = [(row["mapping"], row["model_type"], row["attribute"]) for row in table]
    assert len(keys) == len(set(keys))
    for row in table:
        assert row["reason"]
        assert row["model_type"] in types
        assert row["mapping"] in {"*", *MAPPINGS}

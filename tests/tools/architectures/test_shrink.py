"""Tiny models are small and reproducible, run, and have widths that identify their MLPs."""

import csv
from importlib.resources import files

import pytest
import torch

from tools.architectures import truth
from tools.architectures.shrink import MAPPINGS, Entry, entries, tiny_model, token_inputs
from tools.architectures.sizes import DEFAULT, EQUAL, WIDE_HEADS

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
BY_HAND = {
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
def test_a_tiny_model_is_small_and_its_output_is_finite_and_varies(entry):
    """The output is the same with and without gradients."""
    model = tiny_model(entry)
    given = token_inputs(model)
    assert not model.training
    assert sum(p.numel() * p.element_size() for p in model.parameters()) < 5 * 2**20
    with torch.no_grad():
        plain = model(**given).logits
    with_gradients = model(**given).logits
    assert plain.isfinite().all()
    assert plain.std() > 0.1
    assert with_gradients.requires_grad
    torch.testing.assert_close(plain, with_gradients, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("entry", SAMPLE, ids=str)
def test_weights_depend_on_the_seed_alone_and_none_is_dead(entry):
    """The global generator is neither used nor advanced; no matrix is zero and no gain is one."""
    state = torch.random.get_rng_state()
    first, again, other = tiny_model(entry), tiny_model(entry), tiny_model(entry, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    for (name, p), q, r in zip(first.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q), name
        assert not torch.equal(p, r), name
        assert p.std() > 0.05 or p.numel() == 1, name


@pytest.mark.parametrize("entry", SAMPLE, ids=str)
def test_only_mlps_have_their_widths(entry):
    model = tiny_model(entry)
    places = {path for path, _ in truth.expected_projections(model, token_inputs(model))}
    matmuls = truth.parameter_matmuls(model, token_inputs(model))
    assert places
    assert not {(m.path, m.width) for m in matmuls if m.path not in places and m.width in DEFAULT.mlp_widths}


@pytest.mark.parametrize("shape", [EQUAL, WIDE_HEADS], ids=["equal", "wide heads"])
def test_other_shapes_have_the_same_parameters_with_other_sizes(shape):
    for entry in (Entry("causal", "llama"), Entry("causal", "mixtral"), Entry("seq2seq", "t5")):
        model = tiny_model(entry, shape)
        assert model(**token_inputs(model)).logits.isfinite().all()
        assert [n for n, _ in model.named_parameters()] == [n for n, _ in tiny_model(entry).named_parameters()]


def test_heads_can_be_wider_than_the_model():
    assert tiny_model(Entry("causal", "llama"), WIDE_HEADS).model.layers[0].self_attn.o_proj.in_features == 64


@pytest.mark.parametrize("entry", BY_HAND, ids=str)
def test_expected_projections_are_those_listed_by_hand(entry):
    model = tiny_model(entry)
    assert truth.expected_projections(model, token_inputs(model)) == frozenset(BY_HAND[entry])


def test_experts_that_no_token_is_routed_to_are_expected_too():
    """A single token has two experts of four, which are parts of one tensor or modules."""
    in_one_tensor = tiny_model(Entry("causal", "mixtral"))
    assert truth.expected_projections(in_one_tensor, token_inputs(in_one_tensor, tokens=1)) == frozenset(EXPERTS)
    modules = tiny_model(Entry("seq2seq", "switch_transformers"))
    places = truth.expected_projections(modules, token_inputs(modules, tokens=1))
    assert {path.split("expert_")[1] for path, _ in places if ".experts." in path} == {
        f"{expert}.wo.weight" for expert in range(4)
    }


def test_the_kernel_of_experts_is_restored():
    model = tiny_model(Entry("causal", "mixtral"))
    before = model.config._experts_implementation
    truth.expected_projections(model, token_inputs(model))
    assert model.config._experts_implementation == before


def test_widths_that_do_not_identify_mlps_are_refused():
    model = tiny_model(Entry("causal", "llama"), EQUAL)
    with pytest.raises(ValueError, match="widths do not identify MLPs"):
        truth.expected_projections(model, token_inputs(model), EQUAL)


def test_every_exception_has_a_reason_and_is_about_a_known_model_type():
    table = list(csv.DictReader(files("tools.architectures").joinpath("exceptions.csv").read_text().splitlines()))
    types = {entry.model_type for entry in (*entries(), *entries(held_out=True))}
    keys = [(row["mapping"], row["model_type"], row["attribute"]) for row in table]
    assert len(keys) == len(set(keys))
    for row in table:
        assert row["reason"]
        assert row["model_type"] in types
        assert row["mapping"] in {"*", *MAPPINGS}

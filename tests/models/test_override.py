"""A pattern of paths instead of discovery: it chooses, and what it chose is verified like anything else."""

import pytest
import torch

from pytest_unineuron.errors import NeuronsNotFound
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.discovery.verification import verify
from pytest_unineuron.models.loading.load import LoadedModel
from tools.architectures.examine import _Tokens
from tools.architectures.shrink import Entry, tiny


def loaded(mapping, model_type):
    return LoadedModel(tiny(Entry(mapping, model_type)), _Tokens(), "", None)


@pytest.mark.parametrize(
    ("model_type", "pattern", "expected"),
    [
        ("seq2seq:bart", "model.encoder.layers.*.fc2", ["model.encoder.layers.0.fc2", "model.encoder.layers.1.fc2"]),
        ("causal:gpt2", "*.mlp.c_proj", ["transformer.h.0.mlp.c_proj", "transformer.h.1.mlp.c_proj"]),
        ("masked:xmod", "*.output.dense", [f"roberta.encoder.layer.{i}.output.dense" for i in (0, 1)]),
        ("masked:ultrabert", "head.linear2", ["head.linear2"]),
    ],
)
def test_what_a_pattern_names_is_taken(model_type, pattern, expected):
    """One stack of two, one kind of MLP of two, or one that is no part of any layer."""
    model = loaded(*model_type.split(":"))
    layout = dissect(model, pattern).layout
    assert [layer.down.module for layer in layout.layers] == expected
    verify(model.model, layout, probe_ids(model, rows=2), whole=True)


def test_experts_are_named_by_their_parameter():
    """All of them."""
    layout = dissect(loaded("causal", "mixtral"), "model.layers.1.mlp.experts.down_proj").layout
    assert [(layer.number, layer.expert) for layer in layout.layers] == [(1, expert) for expert in range(4)]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("*.attn.c_proj", r"no MLP neurons at '\*.attn.c_proj' \(2 × reads a mix\)"),
        ("*.mlp.c_fc", r"no MLP neurons at '\*.mlp.c_fc' \(2 × reads a norm\)"),
        ("layers.*", r"no MLP neurons at 'layers.\*' \(there are transformer.h.#.attn.c_attn, transformer"),
    ],
)
def test_what_is_not_made_of_units_is_refused(pattern, words):
    """With what it reads instead, or with the paths there are."""
    with pytest.raises(NeuronsNotFound, match=words):
        dissect(loaded("causal", "gpt2"), pattern)


def test_the_same_number_of_threads_as_before():
    """Looking for neurons uses one, and gives the others back."""
    threads = torch.get_num_threads()
    with pytest.raises(NeuronsNotFound):
        dissect(loaded("causal", "mamba"))
    assert torch.get_num_threads() == threads

"""Neurons are found in a sample of architectures, one for each property in which architectures differ."""

import pytest

from tools.architectures.examination import COMPLETE, NO_MLP, NOT_BUILT
from tools.architectures.examine import examine
from tools.architectures.shrink import Entry, entries

SAMPLE = {
    "causal-gpt2": "weights stored [input, output]",
    "causal-llama": "a gate and an up projection",
    "causal-phi3": "gate and up in one projection",
    "causal-falcon": "a product that is no module's, in a parallel block, added in place",
    "causal-bitnet": "a norm between the units and the output projection",
    "causal-gemma3n_text": "a layer whose units are not computed unit by unit",
    "causal-hrm_text": "the same layers several times, partly without gradients",
    "causal-rwkv": "no attention, and no norm that could be folded",
    "causal-zamba2": "a block shared between layers, with adapters added to it",
    "causal-longcat_flash": "two MLPs and experts in one layer, and experts that do nothing",
    "causal-mixtral": "experts in one tensor",
    "causal-gpt_oss": "gate and up in alternate rows, with biases",
    "causal-dbrx": "experts that are rows of one matrix",
    "causal-jetmoe": "tokens sorted by expert",
    "causal-llama4_text": "every expert gets every token, most of them as zeros",
    "causal-inkling_text": "shared experts weighted before their output projection",
    "seq2seq-nllb-moe": "experts that are modules",
    "seq2seq-t5": "an encoder and a decoder",
    "seq2seq-pegasus_x": "a sequence with more rows than tokens",
    "masked-albert": "one layer, called several times",
    "masked-funnel": "pooled positions, and four numbers in a path",
    "masked-mobilebert": "four MLPs in a layer, narrower than the embedding",
    "masked-squeezebert": "convolutions of one token",
    "masked-xlm": "layers in lists of parts",
    "image-text-llava": "the language model of a model that also reads images",
}
MAPPINGS = ("causal", "masked", "seq2seq", "image-text")


def entry(name):
    mapping = next(mapping for mapping in MAPPINGS if name.startswith(mapping))
    return Entry(mapping, name.removeprefix(f"{mapping}-"))


@pytest.mark.parametrize("name", SAMPLE)
def test_the_expected_neurons_are_found_and_verified(name):
    """Recording and stopping early change no bit of the activations, and folding norms changes no output."""
    result = examine(entry(name))
    assert (result.outcome, result.missing, result.extra) == (COMPLETE, [], [])
    assert (result.same_recorded, result.same_stopped) == (True, True)
    assert result.folded is None or result.folded < 1e-4
    assert {"W_out h + b = output", "W_in x + b = pre"} <= set(result.verified)


@pytest.mark.parametrize("name", ["causal-mamba", "causal-mamba2", "causal-falcon_mamba"])
def test_a_model_without_mlp_is_no_failure(name):
    """The reason says what its matmuls read instead of neurons."""
    result = examine(entry(name))
    assert result.outcome == NO_MLP
    assert "reads a mix" in result.reason


@pytest.mark.parametrize("variant", ["equal", "wide-heads", "bfloat16"])
@pytest.mark.parametrize("name", ["causal-gpt2", "causal-qwen3_moe", "masked-bert", "masked-funnel", "seq2seq-t5gemma"])
def test_neurons_are_found_for_any_sizes_and_precision(name, variant):
    """The variants have MLPs as wide as the stream, heads wider than it, and half precision."""
    assert examine(entry(name), variant).outcome == COMPLETE


@pytest.mark.parametrize("kernel", ["grouped_mm", "batched_mm"])
def test_neurons_are_found_with_any_kernel_for_experts(kernel):
    """Experts run one after the other while they are recorded, whatever the kernel of the model."""
    result = examine(entry("causal-mixtral"), kernel)
    assert (result.outcome, result.same_recorded) == (COMPLETE, True)


def test_a_model_that_cannot_be_built_is_a_result_with_a_reason():
    result = examine(Entry("causal", "gemma4_assistant"))
    assert result.outcome == NOT_BUILT
    assert result.reason


def test_every_entry_of_the_sample_exists():
    """Otherwise an upgrade of transformers would make the sample smaller without notice."""
    known = {str(each) for each in (*entries(), *entries(held_out=True))}
    assert set(SAMPLE) <= known

"""A sample of the coverage report: what makes architectures differ, one of each."""

import pytest
import torch

from tools.architectures.examine import COMPLETE, NONE, examine
from tools.architectures.shrink import Entry, entries

SAMPLE = {
    "causal-gpt2": "weights stored [input, output]",
    "causal-llama": "a gate and an up projection",
    "causal-phi3": "both in one projection",
    "causal-falcon": "a product that is no module's, in a parallel block, added to in place",
    "causal-bitnet": "a norm between the units and the projection that reads them",
    "causal-gemma3n_text": "a layer whose units are not made unit by unit",
    "causal-hrm_text": "the same layers several times, partly without gradients",
    "causal-rwkv": "no attention, and no norm that could be folded",
    "causal-zamba2": "a block shared between layers, with adapters that are added to it",
    "causal-longcat_flash": "two MLPs and experts in one layer, and experts that do nothing",
    "causal-mixtral": "experts in one tensor",
    "causal-gpt_oss": "gate and up in alternate rows, with biases",
    "causal-dbrx": "experts that are rows of one matrix",
    "causal-jetmoe": "tokens sorted by expert",
    "causal-llama4_text": "every expert is given every token, most of them as zeros",
    "causal-inkling_text": "shared experts weighted before they write",
    "seq2seq-nllb-moe": "experts that are modules",
    "seq2seq-t5": "an encoder and a decoder",
    "seq2seq-pegasus_x": "a sequence with more rows than tokens",
    "masked-albert": "one layer, called several times",
    "masked-funnel": "pooled positions, and four numbers in a path",
    "masked-mobilebert": "four MLPs in a layer, narrower than the embedding",
    "masked-squeezebert": "convolutions of one token",
    "masked-xlm": "layers in lists of parts",
    "image-text-llava": "the language tower of a model that also sees",
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Models this small are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def entry(name):
    mapping, model_type = next(
        (m, name.removeprefix(f"{m}-")) for m in ("causal", "masked", "seq2seq", "image-text") if name.startswith(m)
    )
    return Entry(mapping, model_type)


@pytest.mark.parametrize("name", SAMPLE)
def test_neurons_are_found_and_verified(name):
    """Those that widths give away; every identity holds; to watch or to end early changes no bit, folding nothing."""
    found = examine(entry(name))
    assert (found.outcome, found.missing, found.extra) == (COMPLETE, [], [])
    assert (found.same, found.early) == (True, True)
    assert found.folded is None or found.folded < 1e-4
    assert {"W_out h + b = output", "W_in x + b = pre"} <= set(found.verified)


@pytest.mark.parametrize("name", ["causal-mamba", "causal-mamba2", "causal-falcon_mamba"])
def test_a_model_without_mlp_is_no_failure(name):
    """It is said what each of its matmuls reads instead."""
    found = examine(entry(name))
    assert found.outcome == NONE
    assert "reads a mix" in found.reason


@pytest.mark.parametrize("variant", ["equal", "wide-heads", "bfloat16"])
@pytest.mark.parametrize("name", ["causal-gpt2", "causal-qwen3_moe", "masked-bert", "masked-funnel", "seq2seq-t5gemma"])
def test_sizes_and_precision_do_not_matter(name, variant):
    """MLPs as wide as the stream, heads wider than it, half precision."""
    assert examine(entry(name), variant).outcome == COMPLETE


@pytest.mark.parametrize("kernel", ["grouped_mm", "batched_mm"])
def test_the_kernel_of_experts_does_not_matter(kernel):
    """Whatever is the default, experts run one after the other while they are watched."""
    found = examine(entry("causal-mixtral"), kernel)
    assert (found.outcome, found.same) == (COMPLETE, True)


def test_what_cannot_be_built_is_a_result():
    """With the reason."""
    found = examine(Entry("causal", "gemma4_assistant"))
    assert found.outcome == "not built"
    assert found.reason


def test_every_entry_of_the_sample_exists():
    """Also after an upgrade of transformers."""
    known = {str(each) for each in (*entries(), *entries(held_out=True))}
    assert set(SAMPLE) <= known

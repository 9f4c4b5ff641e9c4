"""The statistics of a sweep, compared with independent computations in float64 on the same activations."""

import numpy as np
import pytest
import torch
from scipy import stats

from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.activations.sweep import PartialStatistics
from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.errors import ModelError
from pytest_unineuron.lab.neurons import Neurons
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.statistics import EXTREMES, POST, PRE, RESIDUAL, statistics_for
from tests.activations.sweeping import sweep_blocks
from tests.models.tiny import build, tokenizer


def model_and_blocks(architecture, dtype=torch.float32, budget=6000):
    model = LoadedModel(build(architecture).to(dtype), tokenizer(), "", None)
    anatomy = dissect(model)
    return model, anatomy, to_blocks(find_corpus("news"), model.tokenizer, context=64, budget=budget)


def neurons(sweep_result):
    return Neurons(lambda site: sweep_result, np.zeros(96, dtype=int))


def capture_rows(model, anatomy, blocks):
    """Every activation of every counted token, captured row by row without batching or padding."""
    kept = {PRE: {}, POST: {}}
    residual = []
    for block in blocks.blocks:
        counts = torch.tensor(block.text_mask)

        def receive(site, index, values, tokens, counts=counts):
            if site in kept:
                kept[site].setdefault(index, []).append(values[counts].double())

        with capture_activations(model.model, anatomy.layout, receive) as capture:
            ids = torch.tensor([block.ids])
            capture.forward(ids, torch.ones_like(ids))
        with torch.no_grad():
            out = model.model.base_model(input_ids=torch.tensor([block.ids]), output_hidden_states=True)
        residual.append(out.hidden_states[1][0][counts].double())
    joined = {site: torch.cat([torch.cat(kept[site][i]) for i in sorted(kept[site])], dim=1).numpy() for site in kept}
    return {**joined, RESIDUAL: torch.cat(residual).numpy()}


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama", "phi3", "bert"])
def test_statistics_agree_with_float64(architecture):
    """Mean, variance, skew and kurtosis agree up to float32 rounding of activations, and density up to one token."""
    model, anatomy, blocks = model_and_blocks(architecture)
    found = neurons(sweep_blocks(model.model, anatomy.layout, blocks, batch=700))
    expected = capture_rows(model, anatomy, blocks)
    assert found.tokens == len(expected[PRE])
    for site in (PRE, POST, RESIDUAL):
        values, units = expected[site], getattr(found, site)
        scale = values.std(axis=0)
        np.testing.assert_allclose(units.mean / scale, values.mean(axis=0) / scale, atol=1e-5)
        np.testing.assert_allclose(units.variance, values.var(axis=0), rtol=1e-5)
        np.testing.assert_allclose(units.kurtosis, stats.kurtosis(values, axis=0, fisher=False), rtol=3e-5)
        np.testing.assert_allclose(units.skew, stats.skew(values, axis=0), atol=3e-5)
    # Batching changes the last bits of an activation, so a value at zero may fall on either side.
    assert np.abs(found.density - (expected[PRE] > 0).mean(axis=0)).max() <= 1 / found.tokens


def test_a_gated_neuron_has_the_gate_before_and_the_product_after():
    """The activation function reads the pre-activation, and the output projection reads the post-activation."""
    model, anatomy, blocks = model_and_blocks("llama")
    module = dict(model.model.named_modules())["model.layers.1.mlp"]
    got = {}

    def receive(site, index, values, tokens):
        got[site, index] = values

    with torch.inference_mode(), capture_activations(model.model, anatomy.layout, receive) as capture:
        ids = torch.tensor([blocks.blocks[0].ids])
        hooked = []
        handle = module.register_forward_pre_hook(lambda m, a: hooked.append(a[0]))
        capture.forward(ids, torch.ones_like(ids))
        handle.remove()
    x = hooked[0][0]
    with torch.inference_mode():
        gate, up = module.gate_proj(x), module.up_proj(x)
    torch.testing.assert_close(got[PRE, 1], gate)
    torch.testing.assert_close(got[POST, 1], torch.nn.functional.silu(gate) * up)


def test_hooks_are_removed_after_an_error():
    """A failed pass leaves no hook on a module of neurons."""
    model, anatomy, blocks = model_and_blocks("gpt2", budget=900)

    def fail(site, index, units):
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        sweep_blocks(model.model, anatomy.layout, blocks, batch=100, transform=fail)
    # Transformers has hooks on whole blocks, so only the modules of neurons are checked.
    modules = dict(model.model.named_modules())
    for layer in anatomy.layout.layers:
        assert not modules[layer.down.module]._forward_pre_hooks
        assert not modules[layer.up[0].projection.module]._forward_hooks


def test_activations_that_are_not_finite_are_an_error():
    """The message names the option to try."""
    model, anatomy, blocks = model_and_blocks("gpt2", budget=500)
    with torch.no_grad():
        model.model.transformer.h[1].mlp.c_fc.bias[0] = float("inf")
    with pytest.raises(ModelError, match="not finite; try --unineuron-dtype float32"):
        sweep_blocks(model.model, anatomy.layout, blocks, batch=100)


def test_half_precision_activations_are_summed_in_full_precision():
    """The statistics of a bfloat16 model are those of its activations, not of sums in bfloat16."""
    model, anatomy, blocks = model_and_blocks("gpt2", torch.bfloat16, budget=3000)
    found = neurons(sweep_blocks(model.model, anatomy.layout, blocks, batch=20_000))
    full, _, _ = model_and_blocks("gpt2")
    expected = neurons(sweep_blocks(full.model, anatomy.layout, blocks, batch=20_000))
    assert np.corrcoef(found.pre.variance, expected.pre.variance)[0, 1] > 0.999


def test_only_requested_statistics_are_gathered():
    """They equal those of a complete sweep. An unknown name is an error."""
    model, anatomy, blocks = model_and_blocks("gpt2", budget=2000)
    whole = sweep_blocks(model.model, anatomy.layout, blocks, batch=500)
    some = sweep_blocks(
        model.model, anatomy.layout, blocks, batch=500, statistics={PRE: ("firing",), POST: ("moments",)}
    )
    assert {key for group in some.sums for key in group} == {(PRE, "firing"), (POST, "moments")}
    assert torch.equal(some.total(POST, "moments").m4, whole.total(POST, "moments").m4)
    assert torch.equal(some.total(PRE, "firing").positive, whole.total(PRE, "firing").positive)
    with pytest.raises(KeyError, match="median"):
        sweep_blocks(model.model, anatomy.layout, blocks, batch=500, statistics={POST: ("median",)})


def test_a_double_precision_sweep_does_not_depend_on_batches():
    """Statistics agree to 1e-9, on which runs with several processes rely."""
    model, anatomy, blocks = model_and_blocks("gpt2", torch.float64, budget=3000)
    small, large = (sweep_blocks(model.model, anatomy.layout, blocks, batch=size) for size in (64, 20_000))
    for site in (PRE, POST, RESIDUAL):
        a, b = small.total(site, "moments"), large.total(site, "moments")
        for name in ("variance", "skew", "kurtosis"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-9, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(a.mean / a.variance.sqrt(), b.mean / b.variance.sqrt(), atol=1e-9)
    assert torch.equal(small.total(PRE, "firing").positive, large.total(PRE, "firing").positive)


def test_a_part_with_another_batch_size_is_not_used():
    """A sweep by several processes reuses only parts with the same batches, and notices missing tokens."""
    model, anatomy, blocks = model_and_blocks("gpt2", budget=2000)
    kept = {}

    def first_half(name, make):
        (part,) = make()
        kept[name] = [PartialStatistics(part.sums, part.widths, {g: n for g, n in part.tokens.items() if g})]
        return kept[name]

    for batch in (64, 256):
        with pytest.raises(ModelError, match="tokens were swept; give all processes the same arguments"):
            sweep_blocks(model.model, anatomy.layout, blocks, batch=batch, compute_part=first_half)
    assert len(kept) == 2


def test_a_group_that_is_left_out_can_be_added_back():
    """This holds for every group. The order in which groups are left out does not matter."""
    model, anatomy, blocks = model_and_blocks("gpt2", budget=3000)
    sweep_result = sweep_blocks(model.model, anatomy.layout, blocks, batch=20_000)
    for group in range(sweep_result.groups):
        rest = sweep_result.without(group)
        assert rest.groups == sweep_result.groups - 1
        again = rest.total(PRE, "moments") + sweep_result.sums[group][PRE, "moments"]
        np.testing.assert_allclose(again.kurtosis, sweep_result.total(PRE, "moments").kurtosis, rtol=1e-9)
        assert sum(rest.tokens) + sweep_result.tokens[group] == sum(sweep_result.tokens)
    twice, other = sweep_result.without(3).without(0), sweep_result.without(0).without(2)
    for name in ("mean", "kurtosis"):
        one, two = (getattr(each.total(PRE, "moments"), name) for each in (twice, other))
        np.testing.assert_allclose(one, two, rtol=1e-9)


def test_extremes_name_their_tokens():
    """Each value is that of the neuron at the token that it names."""
    model, anatomy, blocks = model_and_blocks("gpt2", budget=3000)
    captured = {}

    def spy(site, index, units):
        captured.setdefault((site, index), []).append(units.clone())
        return units

    statistics = statistics_for([EXTREMES])
    sweep_result = sweep_blocks(model.model, anatomy.layout, blocks, batch=500, transform=spy, statistics=statistics)
    values = torch.cat([torch.cat(captured[POST, i]) for i in (0, 1)], dim=1)
    extremes = sweep_result.total(POST, "extremes")
    for rank in (0, 4):
        at = values.gather(0, extremes.tokens[rank][None])[0]
        torch.testing.assert_close(at, extremes.values[rank])
    torch.testing.assert_close(extremes.values[0], values.amax(dim=0))

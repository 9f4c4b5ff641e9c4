"""The variance of a unit that a feature explains (numbers are those of the methods' list of laws)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.find import find_corpus
from pytest_unineuron.roles.families import LEAST, MIXTURES, FeatureSums, _deviation, _mixing, families
from pytest_unineuron.roles.features import Features
from tests.models.tiny import tokenizer
from tests.roles.views import batches, view_of

seeds = st.integers(0, 2**32 - 1)


def sample(seed, tokens=60, features=3, units=4):
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(3, 2, (tokens, units))), torch.from_numpy(
        (random.random((tokens, features)) < 0.4).astype(float)
    )


@given(seeds, st.floats(-5, 5).filter(lambda scale: abs(scale) > 0.01), st.floats(-50, 50))
def test_it_is_the_squared_correlation(seed, scale, shift):
    """P47: as numpy has it, from 0 to 1, the same for any scale and shift of a unit and for the opposite feature."""
    values, features = sample(seed)
    found = FeatureSums.of(values, features).reduction()
    expected = np.corrcoef(features.numpy().T, values.numpy().T)[:3, 3:] ** 2
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-12)
    for other in (FeatureSums.of(scale * values + shift, features), FeatureSums.of(values, 1 - features)):
        np.testing.assert_allclose(other.reduction().numpy(), expected, rtol=1e-5, atol=1e-9)
    joined = FeatureSums.of(values[:25], features[:25]) + FeatureSums.of(values[25:], features[25:])
    np.testing.assert_allclose(joined.reduction().numpy(), expected, rtol=1e-6, atol=1e-12)


def test_a_feature_explains_of_independent_values_what_chance_does():
    """P47: 1 / (n − 1) on average."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(50, 20_000, generator=generator, dtype=torch.float64)
    feature = (torch.randperm(50, generator=generator) < 20).double()[:, None]
    assert float(FeatureSums.of(values, feature).reduction().mean()) == pytest.approx(1 / 49, rel=0.05)


def test_it_is_one_where_the_feature_decides_and_undefined_where_there_is_none():
    """P48: a feature that all tokens have, and a unit that never varies."""
    values, features = sample(0)
    features[:, 1] = 1
    values[:, 0], values[:, 1] = 2 * features[:, 0] - 7, 3.0
    found = FeatureSums.of(values, features).reduction()
    assert float(found[0, 0]) == pytest.approx(1)
    assert bool(found[1].isnan().all())
    assert bool(found[:, 1].isnan().all())


def test_features_are_those_of_the_token_and_of_the_one_before_it():
    """P49: there is none before the first token of a text, and nothing comes from another row."""
    read = batches()
    features, batch = Features(tokenizer(), read), read[0]
    table, counted = features.of(batch)
    decoded = [[tokenizer().decode([token]) for token in row] for row in batch.ids.tolist()]
    space, after = features.names.index("starts with a space"), features.names.index("after starts with a space")
    for row, tokens in enumerate(decoded):
        for position, token in enumerate(tokens):
            place = row * len(tokens) + position
            if counted[place]:
                assert batch.text_mask[row, position]
                assert batch.text_mask[row, position - 1]
                assert bool(table[place, space]) == token.startswith(" ")
                assert bool(table[place, after]) == tokens[position - 1].startswith(" ")
    assert not counted.view(batch.ids.shape)[:, :2].any()  # BOS, and the token after it
    assert len(set(features.names)) == len(features.names) == table.shape[1]


def test_languages_are_features_where_a_corpus_has_several():
    """Those that it gives its documents, at every token of their text; a corpus of one language has no such feature."""
    blocks = to_blocks(find_corpus("multilingual"), tokenizer(), context=24, budget=700)
    read = blocks.batches(200)
    features = Features(tokenizer(), read)
    known = {block.ids: block.language for block in blocks.blocks}
    names = ["language de", "language es", "language fr"]
    columns = [features.names.index(name) for name in names]
    for batch in read:
        table = features.of(batch)[0].view(*batch.ids.shape, -1)[..., columns]
        for row, ids in enumerate(batch.ids.tolist()):
            language = known[tuple(ids[: int(batch.attention_mask[row].sum())])]
            expected = torch.tensor([name == f"language {language}" for name in names], dtype=torch.float64)
            assert torch.equal(table[row], expected.expand(len(ids), 3))
    assert {language for batch in read for language in batch.languages} == {"de", "es", "fr"}
    assert not any(name.startswith("language") for name in Features(tokenizer(), batches()).names)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama", "bert"])
def test_a_planted_family_is_found(architecture):
    """A unit that is on where a token starts with a space is explained by that, and not by permuted features."""
    view, read = view_of(architecture), batches(budget=1500)
    features = Features(view.loaded.tokenizer, read)
    number = features.names.index("starts with a space")
    layer = view.anatomy.layout.layers[0]
    even, odd = ([batch for batch in read if batch.group % 2 == half] for half in (0, 1))
    current = iter([*even, *even, *odd])  # standardised, then chosen in the first half, read in the other

    def plant(module, args):
        labels = features.of(next(current))[0][:, number]
        changed = args[0].clone()
        changed.view(-1, changed.shape[-1])[:, 5] = labels.to(changed)
        return (changed, *args[1:])

    hook = view.loaded.model.get_submodule(layer.down.module).register_forward_pre_hook(plant, prepend=True)
    found = families(view, read)
    hook.remove()
    assert found.names[int(found.feature[5])] == "starts with a space"
    assert float(found.reduction[5]) == pytest.approx(1)
    assert float(found.permuted_reduction[5]) < 0.1
    assert float(found.permuted_reduction.nanmean()) < 0.02 < float(found.reduction.nanmean())


def test_what_a_feature_explains_is_read_in_other_documents():
    """It is the squared correlation with the feature in groups of odd numbers, any of which can be left out."""
    view, read = view_of("gpt2"), batches(budget=700)
    found, features = families(view, read), Features(view.loaded.tokenizer, read)
    units, labels, groups = [], [], []
    module = view.loaded.model.get_submodule(view.anatomy.layout.layers[0].down.module)
    hook = module.register_forward_pre_hook(lambda m, args: units.append(args[0].flatten(0, 1)))
    for batch in read:
        if batch.group % 2:
            table, counted = features.of(batch)
            with torch.no_grad():
                view.loaded.model(batch.ids, attention_mask=batch.attention_mask)
            units[-1] = units[-1][counted]
            labels.append(table[counted])
            groups.append(torch.full((int(counted.sum()),), batch.group))
    hook.remove()
    units, labels, groups = torch.cat(units).double().numpy(), torch.cat(labels).numpy(), torch.cat(groups).numpy()
    assert found.groups == len(set(groups)) > 2
    for sample, kept in ((found, groups > 0), (found.without(1), groups != np.unique(groups)[1])):
        for unit in range(0, 48, 7):
            feature = labels[kept, int(found.feature[unit])]
            if min(feature.sum(), (1 - feature).sum()) >= LEAST:
                expected = np.corrcoef(units[kept, unit], feature)[0, 1] ** 2
                assert float(sample.reduction[unit]) == pytest.approx(expected, rel=1e-4)
    assert found.mixed_reduction.shape == (2 * MIXTURES,)
    assert found.mixed_layer.tolist() == [0] * MIXTURES + [1] * MIXTURES


def test_a_unit_that_is_silent_at_first_does_not_make_up_the_mixtures():
    """What a unit weighs depends on the half in which features are chosen, and not on its first batch."""
    view, read = view_of("gpt2", activation_function="relu"), batches(budget=700)
    first, rest = (families(view, order) for order in (read, read[::-1]))
    assert int(first.feature.max()) >= 0
    torch.testing.assert_close(first.mixed_reduction, rest.mixed_reduction, rtol=1e-6, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("values", [[0.0] * 50, [0.3] * 50])
def test_a_unit_that_never_varies_is_in_no_mixture(values):
    units = torch.tensor([values, list(range(50))], dtype=torch.float64).T
    deviation = _deviation(*torch.stack([torch.ones_like(units), units, units.square()]).sum(dim=1))
    assert deviation.tolist() == [float("inf"), pytest.approx(float(units[:, 1].std(correction=0)))]
    weights = _mixing(0, 2, deviation)
    assert weights[0].abs().max() == 0 < weights[1].abs().min()

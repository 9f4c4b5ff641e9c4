"""Neurons that respond to the first letter of a token, against the same done by hand."""

import numpy as np
import pytest
import torch
from scipy import stats

from pytest_unineuron import corpora
from pytest_unineuron.corpora.blocks import to_blocks
from pytest_unineuron.corpora.corpus import Corpus, Document
from pytest_unineuron.corpora.text import from_path
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.roles.letters import LEAST, aurocs, letter_neurons, means_by_type, token_types
from tests.models.tiny import build, in_memory
from tests.roles.views import normal
from tools.zoo.text import train_tokenizer

VOCABULARY = 2000
"""Tokens, so that most letters have enough types."""
FIRST, STRENGTH = 7, 8.0


@pytest.fixture(scope="module")
def prose():
    return from_path("prose", corpora.BUNDLED / "prose.jsonl")


@pytest.fixture(scope="module")
def words(prose):
    return train_tokenizer("\n".join(document.text for document in prose.documents[:100]), VOCABULARY)


@pytest.fixture(scope="module")
def read(prose, words):
    return to_blocks(prose, words, context=64, budget=2000).batches(512)


@pytest.fixture
def view_of(words):
    def view_of(architecture, **choices):
        loaded = in_memory(build(architecture, vocab_size=VOCABULARY, **choices), words)
        return WeightView(loaded, dissect(loaded))

    return view_of


def plant(view, read):
    """Let neurons of the first layer read what tokens of a letter have in common, and return these letters."""
    types, type_of = token_types(view.loaded.tokenizer, read)
    first = [text[0] for text in types]
    letters = [each for each in sorted(set(first)) if first.count(each) >= 2 * LEAST]
    directions = normal(len(letters), 32, seed=1)
    directions = torch.nn.functional.normalize(directions - directions.mean(dim=1, keepdim=True), dim=1)
    transformer = view.loaded.model.transformer
    with torch.no_grad():
        for token in (type_of >= 0).nonzero().flatten().tolist():
            if (letter := first[type_of[token]]) in letters:
                transformer.wte.weight[token] += STRENGTH * directions[letters.index(letter)]
        transformer.h[0].mlp.c_fc.weight[:, FIRST : FIRST + len(letters)] = directions.T
    return letters


def test_the_auroc_is_that_of_mann_and_whitney():
    """Ties count half, and a unit that never varies has one half."""
    values = normal(5, 40, seed=0).double().round(decimals=1)
    values[3] = 1.0
    of_letter = normal(40, 3, seed=1) > 0.4
    expected = [
        [
            stats.mannwhitneyu(row[chosen], row[~chosen]).statistic / (chosen.sum() * (~chosen).sum())
            for chosen in of_letter.numpy().T
        ]
        for row in values.numpy()
    ]
    found = aurocs(values, of_letter)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    assert found[3].tolist() == [0.5] * 3


def test_the_auroc_does_not_depend_on_the_order_of_units_and_types():
    values, of_letter = normal(5, 40, seed=0).double(), normal(40, 3, seed=1) > 0.4
    units, types = torch.randperm(5), torch.randperm(40)
    found = aurocs(values[units][:, types], of_letter[types])
    torch.testing.assert_close(found, aurocs(values, of_letter)[units], rtol=0, atol=0)


def test_types_are_texts_in_lower_case_without_the_space_before_them(read, words):
    types, type_of = token_types(words, read)
    assert types == sorted(set(types))
    for token in torch.cat([batch.ids[batch.text_mask] for batch in read]).unique().tolist():
        text = words.decode([token]).strip().lower()
        if text[:1].isascii() and text[:1].isalpha():
            assert types[type_of[token]] == text
        else:
            assert type_of[token] == -1
    upper, lower, inner = (words(text).input_ids[-1] for text in (" A", " a", "a"))
    assert type_of[upper] == type_of[lower] == type_of[inner] >= 0


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_means_are_over_the_tokens_of_a_type(architecture, view_of, read):
    """By hand, of one neuron of the second layer; gated neurons are marked."""
    view = view_of(architecture)
    types, type_of = token_types(view.loaded.tokenizer, read)
    seen, layer = [], view.anatomy.layout.layers[1]
    hook = view.loaded.model.get_submodule(layer.down.module).register_forward_pre_hook(
        lambda module, args: seen.append(args[0][..., 5].double())
    )
    values = [[] for _ in types]
    for batch in read:
        with torch.no_grad():
            view.loaded.model(batch.ids, attention_mask=batch.attention_mask)
        for token, value in zip(batch.ids[batch.text_mask].tolist(), seen[-1][batch.text_mask].tolist(), strict=True):
            if type_of[token] >= 0:
                values[type_of[token]].append(value)
    hook.remove()
    means, gated = means_by_type(view, read, type_of, len(types))
    assert means.shape == (96, len(types))
    np.testing.assert_allclose(means[48 + 5].numpy(), [np.mean(of_type) for of_type in values], rtol=1e-4, atol=1e-6)
    assert set(gated.tolist()) == {architecture == "llama"}


def test_neurons_of_later_layers_are_not_read(view_of, read):
    view = view_of("gpt2", n_layer=4)
    types, type_of = token_types(view.loaded.tokenizer, read)
    assert len(means_by_type(view, read, type_of, len(types))[0]) == 96


def test_planted_neurons_are_found(view_of, read):
    """Each letter has its own neuron; with letters permuted over types, none has one."""
    view = view_of("gpt2")
    letters = plant(view, read)
    assert len(letters) > 10
    found = letter_neurons(view, read)
    assert found.letters == "".join(letters)
    assert found.neuron.tolist() == list(range(FIRST, FIRST + len(letters)))
    assert found.auroc.min() > 0.9
    assert found.permuted.max() < 0.9


def test_a_random_model_has_none(view_of, read):
    """Neither by letters, nor by permuted ones."""
    found = letter_neurons(view_of("gpt2"), read)
    for auroc in (found.auroc, found.permuted):
        assert auroc.max() < 0.9
        assert abs(auroc.mean() - 0.5) < 0.1


def test_a_gated_neuron_may_respond_with_either_sign(view_of, read):
    """Where its other factor changes its sign, the same neuron tells the same letter as well as before."""
    view = view_of("llama")
    found = letter_neurons(view, read)
    with torch.no_grad():
        for layer in view.loaded.model.model.layers:
            layer.mlp.up_proj.weight.neg_()
            layer.mlp.down_proj.weight.neg_()
    again = letter_neurons(view, read)
    assert torch.equal(found.neuron, again.neuron)
    torch.testing.assert_close(found.auroc, again.auroc, rtol=0, atol=1e-12)


def test_it_does_not_depend_on_the_order_of_batches(view_of, read):
    view = view_of("gpt2")
    one, other = letter_neurons(view, read), letter_neurons(view, read[::-1])
    assert torch.equal(one.neuron, other.neuron)
    torch.testing.assert_close(one.auroc, other.auroc)


def test_a_text_without_letters_has_none(view_of, words):
    corpus = Corpus("numbers", (Document("1 2 3 4 5", "made"), Document("6 7 8 9 0", "made")))
    found = letter_neurons(view_of("gpt2"), to_blocks(corpus, words, context=64, budget=100).batches(64))
    assert (found.letters, len(found.neuron), len(found.auroc), len(found.permuted)) == ("", 0, 0, 0)

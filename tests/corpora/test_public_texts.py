"""The texts of the public evaluations: each set is read and measured by itself."""

import numpy as np
import pytest
import torch
from scipy import stats

from pytest_unineuron.corpora import public_texts
from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.lab.lab import Lab
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.options.settings import Settings


@pytest.fixture(scope="module")
def lab():
    return Lab(Settings(), {"m": parse_source("nano:neox-a")}, {})


@pytest.fixture(scope="module")
def texts(lab):
    return lab.public_texts(Arm("m"))


def test_every_text_is_in_one_set():
    """No text is a copy of another, which would share its group."""
    corpus = public_texts.corpus()
    assert [document.text for document in corpus.documents] == [
        t for of_set in public_texts.sets().values() for t in of_set
    ]
    assert corpus.copy_of == tuple(range(len(corpus.documents)))


def test_kinds_name_their_texts(texts):
    assert list(texts.of("news")) == ["news 1", "news 2", "news 3"]
    assert {name for name in public_texts.sets() if texts.of(name)} == set()


@pytest.mark.parametrize("name", ["news 2", "three topics"])
def test_a_set_is_measured_by_itself(lab, texts, name):
    """Counts and moments are those of a float64 computation on its texts alone."""
    loaded = lab.loaded(Arm("m"))
    streams, tokens = [], 0
    for text in public_texts.sets()[name]:
        ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        tokens += len(ids)
        with_bos = torch.tensor([[loaded.tokenizer.bos_token_id, *ids]])
        with torch.no_grad():
            hidden = loaded.model(with_bos, output_hidden_states=True).hidden_states
        streams.append(hidden[len(hidden) // 2 - (len(hidden) % 2 == 0)][0, 1:].double().numpy())
    values = np.concatenate(streams)
    found = texts[name]
    assert found.tokens == len(texts.ids(name)) == tokens
    assert found.residual.pooled_kurtosis == pytest.approx(stats.kurtosis(values, axis=None, fisher=False), rel=1e-4)
    np.testing.assert_allclose(found.residual.mean, values.mean(axis=0), atol=1e-4)


def test_tokens_of_a_set_are_those_of_its_texts(lab, texts):
    ids = lab.loaded(Arm("m")).tokenizer(public_texts.sets()["prompt 1"][0], add_special_tokens=False)["input_ids"]
    assert texts.ids("prompt 1").tolist() == ids


def test_words_are_read_one_by_one(lab, texts):
    """Each row is the activation at the last token of a word, over the texts of the set."""
    loaded, sentences = lab.loaded(Arm("m")), public_texts.sets()["one first word"]
    words = texts.words("one first word")
    assert len(words) == max(len(text.split()) for text in sentences)
    layer, seen = loaded.model.gpt_neox.layers[0].mlp, []
    hook = layer.dense_4h_to_h.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0][0]))
    firsts = []
    for text in sentences:
        seen.clear()
        count = len(loaded.tokenizer(text.split()[0], add_special_tokens=False)["input_ids"])
        ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            loaded.model(torch.tensor([[loaded.tokenizer.bos_token_id, *ids]]))
        firsts.append(seen[0][count].double())  # after BOS
    hook.remove()
    expected = torch.stack(firsts).mean(dim=0).numpy()
    np.testing.assert_allclose(words[0, : len(expected)], expected, atol=1e-5)


def test_texts_that_are_not_read_by_word_have_no_words(texts):
    assert len(texts.words("twenty of news")) == 0


def test_the_probe_has_about_as_many_tokens_as_the_forecast_says(lab):
    assert lab.blocks("m", public_texts.NAME).tokens == pytest.approx(public_texts.TOKENS, rel=0.1)


def test_texts_have_no_sinks_left_out(lab):
    """What a public run pooled, it pooled over every token."""
    assert lab.neurons(Arm("m"), public_texts.NAME).sinks.tokens == ()

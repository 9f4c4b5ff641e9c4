"""GT2 as public runs tested it: their rules, at their sites, on texts like theirs."""

import numpy as np
import pytest

PARAMETRIC = ["untrained", "reinitialised", "shuffled"]
"""In a rotated basis the units have no bias of their own."""


@pytest.mark.gt2(source="public run eval1 GT2-1")
def test_public1_unigram_neuron_again(public_texts, first_word_neurons, measure):
    """On three other texts, the neuron chosen at the first word of three sentences is above 1 at the first word.

    It responds to the first place, whatever the word: 2.19, 3.05 and 3.64 in the run. The nearest version that can fail
    is number_sensitive_neurons.
    """
    for name in list(public_texts.of("style"))[:3]:
        words = public_texts.words(name)[:, first_word_neurons[0]]
        measure(f"response to the first word of {name}", words[0], above=1)
        measure(f"largest response to later words of {name}", words[1:].max())


@pytest.mark.gt2(source="public run eval1 GT2-2")
def test_public1_position_neuron_again(public_texts, position_neuron, measure):
    """On three other texts, the neuron chosen for its correlation with position is larger on the same side.

    The run compared the first three tokens, the start token among them, with the last three: that token alone gives
    most of it, and is left out here. The version that can fail is the_same_neurons_go_with_position.
    """
    neuron, r = position_neuron
    for name in list(public_texts.of("style"))[:3]:
        words = public_texts.words(name)[:, neuron]
        measure(f"first words less last words of {name}", (words[:3].mean() - words[-3:].mean()) * -np.sign(r), above=0)


@pytest.mark.gt2(source="public run eval1 GT2-3", controls=PARAMETRIC)
def test_public1_low_bias_is_silent_again(public_texts, weights, measure):
    """On five short texts, the first neuron is on at fewer tokens than the first one whose bias is positive.

    Two neurons of layer 0, in the run 0 % against 41.7 %. A lower bias lowers firing in any network, as
    low_biases_silence_neurons_on_new_data shows for all neurons. The version that can fail is neurons_are_mostly_off.
    """
    texts = public_texts.of("style").values()
    positive = np.flatnonzero((weights.bias > 0) & (weights.layer == weights.layer[0]))
    measure.needs("neurons of positive bias in the first layer", len(positive), at_least=1)
    tokens = np.array([text.tokens for text in texts])
    on = np.average([text.density[[0, positive[0]]] for text in texts], axis=0, weights=tokens)
    measure("share of tokens at which it is on, less that of the first neuron", on[1] - on[0], above=0)
    measure("folded bias of the first neuron", weights.bias[0])


@pytest.mark.gt2(source="public run eval3 GT2-3", controls=PARAMETRIC)
def test_public3_bias_goes_with_tails_in_three_texts(bias_with_tails, measure):
    """On three texts, a lower bias goes with more skew and kurtosis in the first layer, after the activation function.

    The run printed +0.163 and +0.037, the wrong sign, called it confirmed, and tried another corpus. The version that
    can fail is heavy_neurons_on_new_data_have_lower_bias.
    """
    for name, r in bias_with_tails("three topics", 1 / 48).items():
        measure(f"correlation of bias and {name}", r, below=0)


@pytest.mark.gt2(source="public run eval3 GT2-4", controls=PARAMETRIC)
def test_public3_bias_goes_with_tails_in_news(bias_with_tails, measure):
    """On twenty news texts, a lower bias goes with more skew and kurtosis in the first tenth of layers.

    The second try of the same claim: -0.298 and -0.348. The activation function alone gives it. The version that can
    fail is heavy_neurons_on_new_data_have_lower_bias.
    """
    for name, r in bias_with_tails("twenty of news", 5 / 48).items():
        measure(f"correlation of bias and {name}", r, below=0)


@pytest.mark.gt2(source="public run eval3 GT2-1")
def test_public3_letter_neuron_again(letter_selectivity, measure):
    """The neuron chosen for the letter A responds more to a sentence with a word in A than to two others.

    The run printed -0.07 against 0.03 and -0.10 in capital letters, and 0.13, at another word, against -0.10 and -0.05
    in small ones. It went on to other neurons. The version that can fail is neurons_respond_to_first_letters.
    """
    chosen = letter_selectivity("letter").argmax()
    for case in ("capital", "small"):
        found = letter_selectivity(f"{case} letter")[chosen]
        measure(f"response to a word in A less that to others, {case} letters", found, above=0)


@pytest.mark.gt2(source="public run eval3 GT2-2")
def test_public3_word_neuron(public_texts, measure):
    """On three texts, the maximum of some neuron of the first layer is above the size of its mean.

    The run printed a largest ratio of 105,451, since that mean was near 0, and took the neuron for one of "fib". Later
    it responded most to another word in three of four lines. No bound was printed, and no ratio below 1 says anything.
    The version that can fail is neurons_respond_to_single_words.
    """
    names = list(public_texts.of("style"))

    def ratio(names):
        words = np.concatenate([public_texts.words(name) for name in names])  # [word, neuron]
        layer = public_texts[names[0]].layer
        return (words.max(axis=0) / (np.abs(words.mean(axis=0)) + 1e-6))[layer == layer[0]]

    found = ratio(names[:3])
    measure("neurons whose maximum is above the size of their mean", int(np.sum(found > 1)), above=0)
    measure("largest ratio of the two", found.max())
    measure("that of the same neuron on two other texts", ratio(names[3:])[found.argmax()])

"""GT1 as public runs tested it: their rules, at their sites, on texts like theirs.

A rule without a printed bound is read as "there are some". Site and bound are those of the run, not of the paper, whose
skew and kurtosis are those of the pre-activation. After the activation function, tails and their relation to the bias
follow from the function itself.
"""

import numpy as np
import pytest

from pytest_unineuron.statistics.resampling import over_unit_groups


@pytest.mark.gt1(source="public run eval1 GT1-1")
def test_public1_biases_below_a_percentile(weights, measure):
    """Some neurons have a folded input bias below the 5th percentile of all of them.

    True by construction: the run printed 9,216 of 184,320. The version that can fail is heavy_neurons_have_lower_bias.
    """
    measure(
        "neurons below their own 5th percentile", int(np.sum(weights.bias < np.percentile(weights.bias, 5))), above=0
    )


@pytest.mark.gt1(source="public run eval1 GT1-2", controls=["untrained", "reinitialised", "shuffled"])
def test_public1_low_biases_are_silent(public_texts, weights, measure):
    """Five neurons of low bias are off at more tokens of one text than five drawn from the upper half of biases.

    A lower bias lowers firing in any network, as low_biases_silence_neurons shows for all neurons. The version that can
    fail is neurons_are_mostly_off.
    """
    text = public_texts["style 1"]
    low = np.flatnonzero(weights.bias < np.percentile(weights.bias, 5))[:5]
    upper = np.flatnonzero(weights.bias > np.median(weights.bias))
    measure.needs("neurons of either kind", min(len(low), len(upper)), at_least=5)
    drawn = np.random.default_rng(42).choice(upper, size=5, replace=False)
    silent = 1 - text.density  # GELU and its like are negative where their input is
    measure(
        "share of tokens at which they are off, less that of the others",
        silent[low].mean() - silent[drawn].mean(),
        above=0,
    )
    measure("tokens", text.tokens)


@pytest.mark.gt1(source="public run eval1 GT1-3")
def test_public1_unigram_neurons(public_texts, first_word_neurons, measure):
    """The five strongest neurons at the first word of three sentences respond more to it than to later words.

    They are chosen and tested at the same word, which is the same in all three, and at the first place: the run printed
    2.96 to 3.64 and ratios of 6.6 to infinity. The version that can fail is neurons_respond_to_single_words.
    """
    words = public_texts.words("one first word")[:, first_word_neurons]  # [word, neuron]
    measure("response to the first word", words[0].min())
    measure("the same, less that to later words, smallest of five", (words[0] - words[1:].mean(axis=0)).min(), above=0)


@pytest.mark.gt1(source="public run eval1 GT1-4")
def test_public1_position_neuron(position_neuron, measure):
    """Some neuron of the second layer goes with position in three lists of ten symbols, the largest |r| of all.

    The run printed 0.82 to 0.936 at 33 points, where the largest of 5,120 units is large by chance; BOS was among them,
    and is left out here. The version that can fail is neurons_go_with_position.
    """
    measure("largest correlation with position", abs(position_neuron[1]), above=0)


@pytest.mark.gt1(source="public run eval2 GT1")
def test_public2_prediction_neurons(weights, measure):
    """What neurons write is more heavy-tailed over the vocabulary in later layers, and leans to the left in the last.

    The run printed mean kurtosis of 3.036 in the earlier and 3.510 in the later half, and mean skew of 0.0438 in the
    first 41 and -0.0287 in the last 4 of 48 layers; the three between were left out. The best of the public trials, but
    without a null or an interval. The interval is ours: without it, signs decide, and an untrained model passed. The
    versions that can fail are more_logit_neurons_are_late and suppression_neurons_are_last.
    """
    layer, found = weights.layer, weights.composition
    place = np.searchsorted(np.unique(layer), layer) / len(np.unique(layer))  # of the neuron's layer, from 0 to 1

    def later_less_earlier(kurtosis, place):
        return np.nanmean(kurtosis[place >= 0.5]) - np.nanmean(kurtosis[place < 0.5])

    later = over_unit_groups(later_less_earlier, layer, found.kurtosis, place)
    measure("mean kurtosis over the vocabulary, later layers less earlier", later, above=0)
    last = place >= min(44 / 48, place.max())
    first = (place < 41 / 48) & ~last
    measure("mean skew, last layers", over_unit_groups(np.nanmean, layer[last], found.skew[last]), below=0)
    measure("mean skew, first layers", over_unit_groups(np.nanmean, layer[first], found.skew[first]), above=0)


@pytest.mark.gt1(source="public run eval3 GT1-1")
def test_public3_biases_below_a_bound(weights, measure):
    """Some neurons have a folded input bias below -0.6, with which nothing was compared: 21.55 % in the run.

    The version that can fail is heavy_neurons_have_lower_bias.
    """
    measure("share of biases below -0.6", np.mean(weights.bias < -0.6), above=0)


@pytest.mark.gt1(source="public run eval3 GT1-2")
def test_public3_signature_of_early_layers(public_texts, first_layers, measure):
    """Some neurons of the first fifth of layers have skew above 0.5 and kurtosis above 5, after the activation.

    The run found this mark of the 1 to 5 % universal neurons in 93.71 %. The version that can fail is
    universal_neurons_have_a_signature.
    """
    texts = public_texts["twenty of prose"]
    marked = (texts.post.skew > 0.5) & (texts.post.kurtosis > 5)
    measure("share with skew above 0.5 and kurtosis above 5", np.mean(marked[first_layers(10 / 48)]), above=0)


@pytest.mark.gt1(source="public run eval3 GT1-3", controls=["untrained", "reinitialised", "shuffled"])
def test_public3_bias_goes_with_tails(bias_with_tails, measure):
    """Over the neurons of early layers, a lower bias goes with more skew and kurtosis after the activation function.

    The run printed -0.417 and -0.422. The activation function alone gives more than that. The version that can fail
    is heavy_neurons_have_lower_bias.
    """
    for name, r in bias_with_tails("twenty of prose", 10 / 48).items():
        measure(f"correlation of bias and {name}", r, below=0)


@pytest.mark.gt1(source="public run eval3 GT1-4")
def test_public3_unigram_neurons(public_texts, first_layers, measure):
    """Some neurons of the first layers have skew above 5 and kurtosis above 10 after the activation function.

    The run took these for unigram neurons, 10,245 of 12,800, without a look at the tokens. The version that can fail is
    neurons_respond_to_single_words.
    """
    texts = public_texts["twenty of prose"]
    sharp = (texts.post.skew > 5) & (texts.post.kurtosis > 10)
    measure("neurons with skew above 5 and kurtosis above 10", int(np.sum(sharp[first_layers(2 / 48)])), above=0)


@pytest.mark.gt1(source="public run eval3 GT1-5")
def test_public3_letter_neuron(letter_selectivity, measure):
    """Some neuron of the first layer responds more to a line that repeats the letter A than to lines of four others.

    It is chosen and tested on the same lines, as the largest of all: 3.78 of 6,400 in the run, where the same neuron
    responded to aaaa by 1.95, to AAAA by 0.88 and to BBBB by 0.35. The version that can fail is
    neurons_respond_to_first_letters.
    """
    measure("largest response to one letter, less that to others", letter_selectivity("letter").max(), above=0)

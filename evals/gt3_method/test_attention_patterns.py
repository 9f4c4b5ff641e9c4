"""GT3: does what attention heads attend to say anything?"""

from functools import cache

import numpy as np
import pytest
from scipy import stats

from pytest_unineuron import LARGE, by_unit, jackknife
from pytest_unineuron.statistics.resampling import over_units


@pytest.mark.gt3(source="public run eval1 GT3")
def test_public1_heads_look_back(public_attention, measure):
    """Some head attends to the first token, and some to the one before, on average over five short texts.

    The run printed 0.9966 and 0.9997, with variances over texts near 0, and no bound. On short texts a head that
    attends to all tokens alike does so too, the same on all of them. The version that can fail is
    heads_attend_to_the_first_or_the_previous_token.
    """
    attention = public_attention("style")
    texts = attention.texts()
    for name, quantity in (("first token", "first"), ("token before", "previous")):
        means = np.array([text.mean(quantity) for text in texts])  # [text, head]
        largest = int(np.argmax(means.mean(axis=0)))
        measure(f"largest mean attention to the {name}", means[:, largest].mean(), above=0)
        measure(f"variance of the same over texts, {name}", means[:, largest].var(ddof=1))
        measure(f"the same of even attention, {name}", np.mean([text.even(quantity) for text in texts]))


@pytest.mark.gt3(source="catalogue GT3-A2")
def test_heads_attend_to_the_first_or_the_previous_token(attention, measure):
    """More heads than in any null give the first token half of their attention, and one the token before most of it.

    It tells of training, and not of universality.
    """
    measure.needs("heads", len(attention), at_least=8)
    measure.needs("documents", attention.documents, at_least=64)
    first = jackknife(lambda a: np.mean(a.mean("first") > 0.5), attention, resolution=1 / len(attention))
    previous = jackknife(lambda a: a.mean("previous").max(), attention, limits=(0, 1))
    measure("share of heads with mean attention to the first token above 0.5", first, higher_by=0.1)
    measure("largest mean attention to the token before", previous, above=0.8, higher_by=0.1)
    measure("mean attention to the first token of even attention", attention.even("first"))


@pytest.mark.gt3(source="public run eval2 GT3", controls=["untrained", "reinitialised", "shuffled"])
def test_public2_heads_are_alike(public_patterns, measure):
    """Many heads of the first quarter of layers correlate with heads of the same layer of another model, on one text.

    The run compared two sizes of GPT-2; here it is another seed. It printed a mean of 0.682 over 432 pairs, 78 % above
    0.5. The half of each matrix that no query can see gives this by itself. The versions that can fail are
    attention_patterns_are_universal and heads_are_universal.
    """
    patterns = public_patterns("style 3")
    r = np.concatenate(patterns.pairs[: max(1, round(len(patterns.pairs) * 3 / 12))])
    measure("share of pairs of heads with a correlation above 0.5", np.mean(r > 0.5), above=0)
    measure("mean correlation of pairs of heads", np.nanmean(r))
    measure("largest correlation of a pair of heads", np.nanmax(r))


@pytest.mark.gt3(source="catalogue GT3-A3", controls=["untrained", "reinitialised", "shuffled", "shifted-documents"])
def test_attention_patterns_are_universal(patterns, measure):
    """Heads attend to the same tokens as a head of the same layer in another seed, beyond even attention.

    The partner is chosen on other documents than those on which its correlation is read. Shifted documents keep what
    depends on positions alone, such as attention to the first token.
    """
    measure.needs("heads", len(patterns), at_least=8)
    measure.needs("documents", patterns.documents, at_least=64)
    matched = by_unit(lambda p: p.matched, patterns)
    measure("correlation of a head's attention with its partner's", matched, higher_by=LARGE)
    measure("share of heads with a correlation above 0.5", np.mean(patterns.matched > 0.5))


@pytest.mark.gt3(source="public run eval3 GT3")
def test_public3_sharp_heads_have_large_weights(public_attention, head_sizes, first_layers, measure):
    """Over the heads of early layers, larger query and key weights go with a lower entropy of attention.

    The run printed -0.466 over 125 heads of five layers together, mean entropies of heads by quartile, and one head
    that it chose by its entropy. Larger logits sharpen any softmax. The version that can fail is
    large_weights_sharpen_heads.
    """
    attention = public_attention("twenty of news")
    texts = attention.texts(15)
    entropy = np.mean([text.mean("entropy") for text in texts], axis=0)
    early = first_layers(5 / 48, attention.layer)
    measure("correlation of the size of weights and entropy", pearson(head_sizes[early], entropy[early]), below=0)
    for number, heads in enumerate(np.array_split(np.argsort(entropy[early]), 4), start=1):
        measure(f"mean size of weights in quartile {number} of entropy", head_sizes[early][heads].mean())
    lowest = int(np.flatnonzero(early)[np.argmin(entropy[early])])
    first = [text.mean("first")[lowest] for text in texts]
    measure("attention to the first token of the head of lowest entropy", np.mean(first))


@pytest.mark.gt3(source="catalogue GT3-A4", controls=["untrained", "reinitialised", "shuffled", "exchanged-entries"])
def test_large_weights_sharpen_heads(attention, head_sizes, measure):
    """Within layers, heads with larger query and key weights have a lower entropy of attention.

    A negative control of this suite: it holds if the entries of these weights are exchanged within every head, too.
    The heads of the other nulls have weights of nearly one size, so what they show is weak: it counts although its
    interval contains 0.
    """
    measure.needs("heads", len(attention), at_least=8)
    measure.needs("documents", attention.documents, at_least=64)
    entropy, layer = attention.mean("entropy"), attention.layer
    both = np.stack([head_sizes, entropy])  # [quantity, head]

    @cache
    def rank_correlation(*heads):
        return pearson(*stats.rankdata(both[:, heads], axis=1))

    def within_layers(kept):
        """The mean over layers of the rank correlation of heads, nan if no layer has one."""
        found = [rank_correlation(*kept[layer[kept] == number]) for number in np.unique(layer)]
        return np.nanmean(found) if np.isfinite(found).any() else np.nan

    within = over_units(within_layers, np.arange(len(attention)), units="heads")
    measure("rank correlation of the size of weights and entropy within layers", within, below=0, null=0)


def pearson(one, other):
    """The correlation of two arrays, nan if one of them never varies."""
    return np.corrcoef(one, other)[0, 1] if np.ptp(one) and np.ptp(other) else np.nan

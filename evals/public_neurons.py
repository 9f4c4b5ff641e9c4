"""Neurons of a model chosen as the public evaluations chose theirs; conftest.py makes these fixtures known.

As in claims.py, each imports what it needs itself.
"""

import pytest

__all__ = [
    "bias_with_tails",
    "first_word_neurons",
    "letter_selectivity",
    "position_neuron",
]


@pytest.fixture
def first_word_neurons(public_texts):
    """The five neurons of the first layer that respond most to the first word of three sentences, as in eval1."""
    import numpy as np

    layer = public_texts["one first word"].layer
    first = np.flatnonzero(layer == layer[0])
    return first[np.argsort(-public_texts.words("one first word")[0, first])[:5]]


@pytest.fixture
def position_neuron(public_texts):
    """The neuron of the second layer that goes most with position in three lists, chosen as in eval1, and its r."""
    import numpy as np

    layer = public_texts["symbols 1"].layer
    here = np.flatnonzero(layer == np.unique(layer)[:2][-1])
    lists = [public_texts.words(name)[:, here] for name in public_texts.of("symbols")]  # each [word, neuron]
    place = np.concatenate([np.arange(len(words)) for words in lists])
    values = np.concatenate(lists)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.nan_to_num(np.corrcoef(place, values, rowvar=False)[0, 1:])  # of a unit that never varies: none
    best = int(np.argmax(np.abs(r)))
    return here[best], r[best]


@pytest.fixture
def letter_selectivity(public_texts):
    """A function that returns the largest response to the first text of a kind less the mean of those to the others.

    It is [neuron], of those of the first layer, and texts are read word by word, as in eval3.
    """
    import numpy as np

    def selectivity(kind):
        layer = public_texts[f"{kind} 1"].layer
        first, *others = (public_texts.words(name).max(axis=0) for name in public_texts.of(kind))
        return (first - np.mean(others, axis=0))[layer == layer[0]]

    return selectivity


@pytest.fixture
def bias_with_tails(public_texts, weights, first_layers):
    """A function that correlates folded bias with skew and kurtosis after the activation function, in first layers."""
    import numpy as np
    from scipy import stats

    def correlations(texts, share):
        found = {}
        for name in ("skew", "kurtosis"):
            tails = getattr(public_texts[texts].post, name)
            known = first_layers(share) & np.isfinite(weights.bias) & np.isfinite(tails)
            varies = known.sum() > 2 and np.ptp(weights.bias[known]) > 0
            found[name] = stats.pearsonr(weights.bias[known], tails[known]).statistic if varies else np.nan
        return found

    return correlations

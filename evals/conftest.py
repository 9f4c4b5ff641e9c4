"""Short names for the plugin's fixtures, for use in the trials of this folder."""

import pytest


@pytest.fixture
def measure(unineuron_measure):
    """Record a number, with its bound: ``measure("share", value, above=0.01)``."""
    return unineuron_measure


@pytest.fixture
def neurons(unineuron_neurons):
    """Every MLP neuron on the trial's corpus: new data for GT2, the reference corpus otherwise."""
    return unineuron_neurons


@pytest.fixture
def reference_neurons(unineuron_reference_neurons):
    """Every MLP neuron on the reference corpus."""
    return unineuron_reference_neurons


@pytest.fixture
def universality(unineuron_universality):
    """The model compared with its further seeds on the trial's corpus: neurons, heads, residual dimensions."""
    return unineuron_universality


@pytest.fixture
def reference_universality(unineuron_reference_universality):
    """The comparison with further seeds on the reference corpus."""
    return unineuron_reference_universality


@pytest.fixture
def labelled(unineuron_labelled):
    """The neurons compared on the reference corpus, which say which are universal; one control permutes them."""
    return unineuron_labelled


@pytest.fixture
def published(unineuron_published):
    """Which neurons of the model the paper published as universal; one control permutes them within layers."""
    return unineuron_published


@pytest.fixture
def published_table(unineuron_published_table):
    """The columns of the paper's table for every neuron of the model: ``published_table["skew"]``; NaN if not in it."""
    return unineuron_published_table


@pytest.fixture
def claimed(universality):
    """The share of universal units that is claimed, of all units and beyond that of every control.

    In models of 100 million parameters and more, above the paper's ϱ of 0.5; in smaller ones, above 0.4.
    """
    least = 0.0025 if universality.threshold >= 0.5 else 0.005
    return {"above": least, "higher_by": least}


@pytest.fixture
def more():
    """A small effect of selected neurons against the rest of their layer, and of the model against every control."""
    from pytest_unineuron import SMALL

    return {"above": SMALL, "higher_by": SMALL - 0.5}


@pytest.fixture
def less():
    """The same in the other direction."""
    from pytest_unineuron import SMALL

    return {"below": 1 - SMALL, "lower_by": SMALL - 0.5}


@pytest.fixture
def heaviest():
    """A function that marks the tenth of the neurons of each layer that have the largest kurtosis, [neuron]."""
    import numpy as np

    def mark(kurtosis, layer):
        marked = np.zeros(len(layer), dtype=bool)
        for number in np.unique(layer):
            here = layer == number
            marked[here] = kurtosis[here] > np.nanquantile(kurtosis[here], 0.9)
        return marked

    return mark


@pytest.fixture
def measure_heavy_bias(neurons, weights, heaviest, less, measure):
    """A function that claims that the heaviest-tailed tenth of a layer has a lower folded bias than the rest of it."""
    from pytest_unineuron import jackknife, within

    def measure_heavy_bias():
        measure.needs("documents", neurons.documents, at_least=64)
        auroc = jackknife(
            lambda n: within(weights.bias, heaviest(n.kurtosis, n.layer), n.layer), neurons, limits=(0, 1)
        )
        measure("AUROC of the bias within layers", auroc, **less)

    return measure_heavy_bias


@pytest.fixture
def measure_bias_of_active(neurons, weights, measure):
    """A function that claims that the half of a layer that is on more often has a higher folded bias than the other.

    Controls must not even lean to that side. All biases of an untrained model are 0 and have no rank correlation with
    anything, but they have an AUROC.
    """
    import numpy as np

    from pytest_unineuron import jackknife, within

    def active(density, layer):
        marked = np.zeros(len(layer), dtype=bool)
        for number in np.unique(layer):
            here = layer == number
            marked[here] = density[here] > np.nanmedian(density[here])
        return marked

    def measure_bias_of_active():
        bias = weights.bias  # first, so that a model without biases is not run
        measure.needs("documents", neurons.documents, at_least=64)
        auroc = jackknife(lambda n: within(bias, active(n.density, n.layer), n.layer), neurons, limits=(0, 1))
        measure("AUROC of the bias within layers, neurons on more often than the median", auroc, above=0.5, null=0.5)

    return measure_bias_of_active


@pytest.fixture
def measure_position(weights, first_layers, measure):
    """A function that claims that more neurons of the first layers than in any null clearly go with position.

    It is given runs over one or more texts. Correlations with the position have to be beyond ±0.8, of one sign, in
    either half of each.
    """
    import numpy as np

    from pytest_unineuron.roles.position import position_correlations
    from pytest_unineuron.statistics.resampling import over_unit_groups

    def measure_position(*texts):
        found, positions = zip(*(runs.role(position_correlations) for runs in texts), strict=True)
        measure.needs("positions of 8 tokens in either half", min(positions), at_least=16)
        correlations, early, layer = np.concatenate(found), first_layers(1 / 4), weights.layer
        with_position = (correlations > 0.8).all(axis=0) | (correlations < -0.8).all(axis=0)
        step = 1 / np.sum(early)
        share = over_unit_groups(np.mean, layer[early], with_position[early], resolution=step, limits=(0, 1))
        measure("share that clearly goes with position, first quarter of layers", share, higher_by=0.01)
        if not early.all():
            measure("the same, later layers", np.mean(with_position[~early]))

    return measure_position


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
def first_layers(weights):
    """A function that marks the neurons in a first share of the layers, of one layer at least, [neuron].

    With ``layer`` [unit] it marks other units, such as heads.
    """
    import numpy as np

    def first(share, layer=weights.layer):
        numbers = np.unique(layer)
        return np.isin(layer, numbers[: max(1, round(len(numbers) * share))])

    return first


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


@pytest.fixture
def number_words(unineuron_number_words):
    """The response of every neuron to words for numbers, and to similar words that are not numbers."""
    return unineuron_number_words


@pytest.fixture
def public_texts(unineuron_public_texts):
    """Every MLP neuron on texts like those of the public evaluations, set by set: ``public_texts["news 1"]``."""
    return unineuron_public_texts


@pytest.fixture
def weights(unineuron_weights):
    """The weights of the model, per neuron and per head."""
    return unineuron_weights


@pytest.fixture
def runs(unineuron_runs):
    """Runs of the model over a small part of the trial's corpus, for instruments that intervene."""
    return unineuron_runs


@pytest.fixture
def reference_runs(unineuron_reference_runs):
    """Runs of the model over a small part of the reference corpus."""
    return unineuron_reference_runs


@pytest.fixture
def attention(unineuron_attention):
    """What every attention head attends to on a part of the trial's corpus: means over query tokens, by head."""
    return unineuron_attention


@pytest.fixture
def public_attention(unineuron_public_attention):
    """The same on texts like those of the public evaluations, text by text: ``public_attention("style")``."""
    return unineuron_public_attention


@pytest.fixture
def patterns(unineuron_patterns):
    """The attention of every head beside that of the heads of the same layer in another seed."""
    return unineuron_patterns


@pytest.fixture
def public_patterns(unineuron_public_patterns):
    """The same on one text like those of the public evaluations: ``public_patterns("style 3")``."""
    return unineuron_public_patterns


@pytest.fixture
def head_sizes(weights):
    """‖W_Q‖ ‖W_K‖ of each head, with norms folded in, [head]."""
    from pytest_unineuron.roles.head_circuits import folded_query_key_norms

    return weights.role(folded_query_key_norms).prod(axis=1)


@pytest.fixture
def token_counts(unineuron_token_counts):
    """How often each token of the vocabulary is in the trial's corpus."""
    return unineuron_token_counts


@pytest.fixture
def verified(unineuron_verified):
    """The identities verified when a model was loaded: at how many layers, and the largest error of each."""
    return unineuron_verified

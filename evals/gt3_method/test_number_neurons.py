"""GT3: does the method find neurons that answer to numbers?"""

import numpy as np
import pytest

from pytest_unineuron.statistics.resampling import over_splits
from pytest_unineuron.statistics.selectivity import confirmed, split

SPLITS = 6


@pytest.mark.gt3(source="notebook")
def test_notebook_number_difference(number_words, measure):
    """Some unit differs by more than 0.1 between one text with a number and one without."""
    a_number, another_word = number_words.means[0, 0], number_words.means[0, -1]  # each [neuron]
    measure("units that differ by more than 0.1", int(np.sum(np.abs(a_number - another_word) > 0.1)), above=0)


@pytest.mark.gt3(primary=True, source="catalogue GT3-C")
def test_number_sensitive_neurons(number_words, measure):
    """Some neurons tell words for numbers from words like them, on words and sentences they were not found on."""
    splits = [split(number_words.number, number_words.last_token, seed) for seed in range(SPLITS)]
    smallest = min(halves.smallest(number_words.number) for halves in splits)
    measure.needs("words of either kind in either half", smallest, at_least=40)

    share = np.array([np.mean(confirmed(number_words.means, number_words.number, s)) for s in splits])
    measure("share confirmed", over_splits(share), higher_by=0.01)

"""GT1: does the input bias mark the neurons that the finding is about?"""

import numpy as np
import pytest


@pytest.mark.gt1(source="public run eval1_new GT1-2 (reconstructed, code not public)")
def test_notebook_negative_input_bias(weights, measure):
    """Most neurons of a new model have a negative input bias.

    The run printed 91,747 of 98,304 (93.3 %). Whether its biases were folded is not known; these are not. The version
    that can fail is heavy_neurons_have_lower_bias.
    """
    measure("share of negative biases", np.mean(weights.raw_bias < 0), above=0.5)


PARAMETRIC = ["untrained", "reinitialised", "shuffled"]
"""In a rotated basis the units have no bias of their own."""


@pytest.mark.gt1(source="Gurnee et al. 2024, figure 3; catalogue GT1-B1", controls=PARAMETRIC)
def test_heavy_neurons_have_lower_bias(measure_heavy_bias):
    """The heaviest-tailed tenth of a layer has a more negative folded input bias than its other neurons."""
    measure_heavy_bias()


@pytest.mark.gt1(
    source="catalogue GT1-B2, a trial that is known to be vacuous", controls=[*PARAMETRIC, "exchanged-input-weights"]
)
def test_low_biases_silence_neurons(measure_bias_of_active):
    """Within layers, the neurons that are on more often have a higher folded bias.

    A negative control of this suite: it holds if the entries of every neuron's input weights are exchanged, too.
    """
    measure_bias_of_active()

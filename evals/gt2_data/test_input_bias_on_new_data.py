"""GT2: does the input bias mark the neurons that the finding is about on text of another kind?"""

import pytest

PARAMETRIC = ["untrained", "reinitialised", "shuffled"]
"""In a rotated basis the units have no bias of their own."""


@pytest.mark.gt2(source="Gurnee et al. 2024, figure 3, on other text; catalogue GT2-B1", controls=PARAMETRIC)
def test_heavy_neurons_on_new_data_have_lower_bias(measure_heavy_bias):
    """The tenth of a layer with the heaviest tails on new text has a more negative folded bias than the rest of it."""
    measure_heavy_bias()


@pytest.mark.gt2(source="catalogue GT2-B2, a trial that is known to be vacuous", controls=PARAMETRIC)
def test_low_biases_silence_neurons_on_new_data(measure_bias_of_active):
    """The neurons of a layer that are on more often on new text have a higher folded bias: this must be VACUOUS."""
    measure_bias_of_active()

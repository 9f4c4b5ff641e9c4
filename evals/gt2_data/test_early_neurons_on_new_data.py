"""GT2: are the neurons that go with the position in the context the same ones on text of another kind?"""

import pytest


@pytest.mark.gt2(source="Gurnee et al. 2024, section 4.3, position neurons, on other text; catalogue GT2-P")
def test_the_same_neurons_go_with_position(reference_runs, runs, measure_position):
    """More neurons of the first layers than in any null rise, or fall, with position on reference and new text."""
    measure_position(reference_runs, runs)

"""GT1: are activations heavy-tailed in a model nobody studied?"""

import numpy as np
import pytest

from pytest_unineuron import MEDIUM, by_unit


@pytest.mark.gt1(
    source="public run eval1_new GT1-1 (reconstructed, code not public)",
    controls=["untrained", "reinitialised", "shuffled", "rotation", "planted-sink"],
)
def test_notebook_activation_kurtosis(public_texts, measure):
    """Activations of a new model are not Gaussian, in each of three prompts.

    The run printed 1886, 2264 and 3017 for prompts of two to five words, and called them high. All residual dimensions
    and tokens of a prompt in one array are our reading, and so is the bound of 3, which plain nulls meet or miss by
    chance. Values in the thousands take one token of large norm, which a null with a planted sink has too. The version
    that can fail is heavy_tailed_neurons.
    """
    for name, text in public_texts.of("prompt").items():
        kurtosis = text.residual.pooled_kurtosis
        measure(f"kurtosis, middle residual stream, {name}", kurtosis, above=3.0, note=f"{text.tokens} tokens")


@pytest.mark.gt1(primary=True, source="Gurnee et al. 2024, section 4.1 and figure 3; catalogue GT1-K")
def test_heavy_tailed_neurons(neurons, measure):
    """The neurons of a new model are heavier-tailed before the activation function than those of any null."""
    measure.needs("documents", neurons.documents, at_least=64)
    measure.needs("tokens", neurons.tokens, at_least=8000)
    measure("kurtosis", by_unit(lambda n: n.kurtosis, neurons), higher_by=MEDIUM)
    measure("share with kurtosis above 4.5", np.mean(neurons.kurtosis > 4.5))
    measure("the same with attention sinks", np.mean(neurons.with_sinks.kurtosis > 4.5))

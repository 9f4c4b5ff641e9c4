"""GT2: do neurons that are heavy-tailed on the reference text stay so on text of another kind?"""

import numpy as np
import pytest

from pytest_unineuron import MEDIUM, by_unit

HEAVY = 4.5


@pytest.mark.gt2(
    source="public run eval1_new GT2-1 to GT2-3 (reconstructed, code not public)",
    controls=["untrained", "reinitialised", "shuffled", "rotation", "planted-sink"],
)
@pytest.mark.parametrize("kind", ["news", "code", "multilingual"])
def test_notebook_heavy_tails(kind, public_texts, measure):
    """Activations stay non-Gaussian in each of three new texts of a kind.

    The run printed nine values from 4012 to 7830, one for each text, which grow with its length. Site and bound are
    ours, as in notebook_activation_kurtosis. The version that can fail is heavy_tails_replicate.
    """
    for name, text in public_texts.of(kind).items():
        kurtosis = text.residual.pooled_kurtosis
        measure(f"kurtosis, middle residual stream, {name}", kurtosis, above=3.0, note=f"{text.tokens} tokens")


@pytest.mark.gt2(primary=True, source="Gurnee et al. 2024, section 4.1; catalogue GT2-C")
def test_heavy_tails_replicate(reference_neurons, neurons, measure):
    """On the reference text and on text of another kind alike, neurons are heavier-tailed than those of any null."""
    for text, read in (("reference", reference_neurons), ("new", neurons)):
        measure.needs(f"documents of {text} text", read.documents, at_least=64)
        measure.needs(f"tokens of {text} text", read.tokens, at_least=8000)

    def on_both(new, reference):
        return np.minimum(new.kurtosis, reference.kurtosis)

    measure("kurtosis, the smaller of both texts", by_unit(on_both, neurons, reference_neurons), higher_by=MEDIUM)
    heavy = reference_neurons.kurtosis > HEAVY
    measure("share with kurtosis above 4.5 on both", np.mean(heavy & (neurons.kurtosis > HEAVY)))
    again = neurons.kurtosis[heavy] > HEAVY
    measure("of those above 4.5 on the reference, again", np.mean(again) if len(again) else np.nan)

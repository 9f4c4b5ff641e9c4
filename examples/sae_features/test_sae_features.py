"""A claim about units of one's own: are the features of autoencoders of two training seeds the same?"""

import pytest

from pytest_unineuron import SMALL, by_unit

FEATURES = "sae features"


@pytest.mark.gt3(primary=True, source="an example", controls=["rotation", "shifted-documents"])
def test_features_are_universal(unineuron_neurons, unineuron_universality, unineuron_measure):
    """A feature is better matched in another seed, beyond a random basis, than the features in another basis are.

    With the control ``untrained`` too, the claim is undecided: features of an autoencoder of an untrained model are
    matched nearly as well, since the stream in the middle of three layers still tells which token was read.
    """
    density = unineuron_neurons.of(FEATURES).density  # [feature]
    unineuron_measure.needs("features that are ever active", int((density > 0).sum()), at_least=32)
    excess = by_unit(
        lambda universality: universality.of(FEATURES).excess,
        unineuron_universality,
        layer=lambda universality: universality.of(FEATURES).layer,
    )
    unineuron_measure("excess correlation of a feature", excess, higher_by=SMALL)

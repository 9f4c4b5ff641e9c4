"""GT3: does excess correlation single out units that are special, and nothing else?"""

import pytest

from pytest_unineuron import LARGE, by_unit, jackknife


@pytest.mark.gt3(primary=True, source="Elhage et al. 2023, privileged bases; catalogue GT3-B")
def test_excess_needs_a_privileged_basis(universality, claimed, measure):
    """Neurons are universal and the dimensions of the residual stream, which could be any others, are not."""
    measure.needs("further seeds", len(universality.seeds), at_least=1)
    measure.needs("documents", universality.documents, at_least=300)

    def beyond(u):
        return u.neurons.share() - u.dimensions.share()

    share = jackknife(beyond, universality, resolution=1 / len(universality.neurons))
    measure("share of universal neurons beyond that of residual dimensions", share, **claimed)
    measure("mean excess of residual dimensions", universality.dimensions.mean_excess)
    if universality.has("head values"):
        measure("mean excess of head values", universality.head_values.mean_excess)


@pytest.mark.gt3(source="catalogue GT3-A", controls=["untrained", "reinitialised", "shuffled", "shifted-documents"])
def test_heads_are_universal(universality, measure):
    """What attention heads write is large at the same tokens in other seeds, whatever basis they write in."""
    measure.needs("further seeds", len(universality.seeds), at_least=1)
    measure.needs("heads", len(universality.heads), at_least=8)
    excess = by_unit(lambda u: u.heads.excess, universality, layer=lambda u: u.heads.layer)
    measure("excess correlation of heads", excess, higher_by=LARGE)
    measure("share of heads with excess above 0.3", universality.heads.share(0.3))

"""The fixtures that trials ask for. ``fixture_table`` declares what each of them reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron.errors import NotApplicable, TrialError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pandas
    from numpy.typing import NDArray
    from torch import Tensor

    from pytest_unineuron.evidence.case import Case
    from pytest_unineuron.evidence.recorder import Recorder
    from pytest_unineuron.lab.arm import Arm
    from pytest_unineuron.lab.attention import Attention, Patterns
    from pytest_unineuron.lab.lab import Lab
    from pytest_unineuron.lab.neurons import Neurons, Units
    from pytest_unineuron.lab.public_texts import PublicTexts
    from pytest_unineuron.lab.runs import Runs
    from pytest_unineuron.lab.universality import Matched, Universality
    from pytest_unineuron.lab.weights import Weights
    from pytest_unineuron.lab.words import WordResponses
    from pytest_unineuron.plugin.session import Session
    from pytest_unineuron.statistics.extremes import Extremes


def _session(request: pytest.FixtureRequest) -> Session:
    from pytest_unineuron.plugin.start import session_of

    return session_of(request.config)


def _lab(request: pytest.FixtureRequest) -> Lab:
    # The fixture ``unineuron_lab`` would declare that the item may read any text.
    return _session(request).lab


@pytest.fixture
def unineuron_verified(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The number of layers and the largest error of every identity that was checked when a model was loaded."""
    return _lab(request).verified(request.param)


@pytest.fixture
def unineuron_case(request: pytest.FixtureRequest) -> Case:
    """The model, corpus, control and draw that this item measures. Raises TrialError outside of a trial."""
    if not hasattr(request, "param"):
        raise TrialError(f"{request.node.name} asks for unineuron fixtures and is no trial; mark it gt1, gt2 or gt3")
    case: Case = request.param.case
    return case


@pytest.fixture
def unineuron_measure(unineuron_case: Case, request: pytest.FixtureRequest) -> Recorder:
    """Records numbers, ``measure("share", x, above=0.01)``, and minima, ``measure.needs("tokens", n, at_least=9)``."""
    from pytest_unineuron.plugin.protocol import ATTEMPT

    recorder: Recorder = request.node.stash[ATTEMPT].recorder
    return recorder


@pytest.fixture(scope="session")
def unineuron_lab(request: pytest.FixtureRequest) -> Lab:
    """The models, corpora and results of this run, each made once."""
    return _lab(request)


@pytest.fixture
def unineuron_arm(unineuron_case: Case) -> Arm:
    """The version of the model that this item measures: the model itself or a control."""
    from pytest_unineuron.lab.arm import Arm

    return Arm(unineuron_case.model, unineuron_case.control, unineuron_case.draw)


@pytest.fixture
def unineuron_corpus(unineuron_case: Case) -> str:
    """The label of the corpus that this item measures on. Asking for it makes one item per corpus."""
    return unineuron_case.corpus


@pytest.fixture
def unineuron_sweeps(unineuron_arm: Arm, request: pytest.FixtureRequest) -> Callable[[str], Neurons]:
    """A function from a corpus label to the neurons on it."""
    return lambda corpus: _lab(request).neurons(unineuron_arm, corpus)


@pytest.fixture
def unineuron_neurons(unineuron_arm: Arm, unineuron_corpus: str, request: pytest.FixtureRequest) -> Neurons:
    """Every MLP neuron of the arm, on the item's corpus."""
    return _lab(request).neurons(unineuron_arm, unineuron_corpus)


@pytest.fixture
def unineuron_reference_neurons(unineuron_arm: Arm, request: pytest.FixtureRequest) -> Neurons:
    """Every MLP neuron of the arm, on the reference corpus."""
    return _lab(request).neurons(unineuron_arm, _session(request).run.reference)


@pytest.fixture
def unineuron_up(unineuron_arm: Arm, unineuron_corpus: str, request: pytest.FixtureRequest) -> Units:
    """The up projection of gated neurons, the factor that the gate multiplies, on the item's corpus."""
    return _lab(request).neurons(unineuron_arm, unineuron_corpus).up


@pytest.fixture
def unineuron_extremes(unineuron_arm: Arm, unineuron_corpus: str, request: pytest.FixtureRequest) -> Extremes:
    """The strongest post-activations of every neuron on the item's corpus, with their tokens, [rank, neuron]."""
    extremes: Extremes = _lab(request).neurons(unineuron_arm, unineuron_corpus).extremes()
    return extremes


@pytest.fixture
def unineuron_comparisons(unineuron_arm: Arm, request: pytest.FixtureRequest) -> Callable[[str], Universality]:
    """A function from a corpus label to the comparison of the arm with further seeds on it."""
    return lambda corpus: _lab(request).universality(unineuron_arm, corpus)


@pytest.fixture
def unineuron_universality(unineuron_arm: Arm, unineuron_corpus: str, request: pytest.FixtureRequest) -> Universality:
    """The comparison of the arm with further seeds of the model, on the item's corpus."""
    return _lab(request).universality(unineuron_arm, unineuron_corpus)


@pytest.fixture
def unineuron_reference_universality(unineuron_arm: Arm, request: pytest.FixtureRequest) -> Universality:
    """The comparison of the arm with further seeds of the model, on the reference corpus."""
    return _lab(request).universality(unineuron_arm, _session(request).run.reference)


@pytest.fixture
def unineuron_relabelled(unineuron_arm: Arm, request: pytest.FixtureRequest) -> NDArray[np.int64]:
    """The neuron whose label every neuron gets, [neuron]. Asking for it adds the control that permutes labels."""
    return _lab(request).relabelled(unineuron_arm)


@pytest.fixture
def unineuron_labelled(
    unineuron_reference_universality: Universality, unineuron_relabelled: NDArray[np.int64]
) -> Matched:
    """The neurons matched on the reference corpus, which label them as ``labelled.universal``."""
    return unineuron_reference_universality.neurons.permuted(unineuron_relabelled)


@pytest.fixture
def unineuron_published_table(
    unineuron_case: Case, unineuron_relabelled: NDArray[np.int64], request: pytest.FixtureRequest
) -> pandas.DataFrame:
    """What the paper published of each neuron of the model, NaN for the others, [neuron]. Raises NotApplicable."""
    from pytest_unineuron.lab.arm import Arm
    from pytest_unineuron.models.published import check_weights, universal_neurons

    table = _session(request).run.published(unineuron_case.model)
    if table is None:
        raise NotApplicable(f"no universal neurons of {unineuron_case.model} were published")
    layers = _lab(request).anatomy(unineuron_case.model).layout.layers
    rows = universal_neurons(table, [(layer.number, layer.width) for layer in layers])
    check_weights(table, rows, _lab(request).weights(Arm(unineuron_case.model)).cosine)
    return rows.reindex(unineuron_relabelled).reset_index(drop=True)


@pytest.fixture
def unineuron_published(unineuron_published_table: pandas.DataFrame) -> NDArray[np.bool_]:
    """Whether the paper published each neuron of the model as universal, [neuron]."""
    published: NDArray[np.bool_] = unineuron_published_table["layer"].notna().to_numpy()
    return published


@pytest.fixture
def unineuron_number_words(unineuron_arm: Arm, request: pytest.FixtureRequest) -> WordResponses:
    """The responses of the arm's neurons to words for numbers and to similar words."""
    return _lab(request).number_words(unineuron_arm)


@pytest.fixture
def unineuron_public_texts(unineuron_arm: Arm, request: pytest.FixtureRequest) -> PublicTexts:
    """The neurons of the arm on texts like those of the public evaluations, set by set."""
    return _lab(request).public_texts(unineuron_arm)


@pytest.fixture
def unineuron_weights(unineuron_arm: Arm, request: pytest.FixtureRequest) -> Weights:
    """The statistics of the weights of the arm, which need no text."""
    return _lab(request).weights(unineuron_arm)


@pytest.fixture
def unineuron_runs(unineuron_arm: Arm, unineuron_corpus: str, request: pytest.FixtureRequest) -> Runs:
    """Runs of the arm over a small part of the item's corpus, for instruments that intervene."""
    return _lab(request).runs(unineuron_arm, unineuron_corpus)


@pytest.fixture
def unineuron_reference_runs(unineuron_arm: Arm, request: pytest.FixtureRequest) -> Runs:
    """Runs of the arm over a small part of the reference corpus, for instruments that intervene."""
    return _lab(request).runs(unineuron_arm, _session(request).run.reference)


@pytest.fixture
def unineuron_attention(unineuron_arm: Arm, unineuron_corpus: str, request: pytest.FixtureRequest) -> Attention:
    """What every head of the arm attends to on a part of the item's corpus."""
    return _lab(request).attention.attention(unineuron_arm, unineuron_corpus)


@pytest.fixture
def unineuron_public_attention(unineuron_arm: Arm, request: pytest.FixtureRequest) -> Callable[[str], Attention]:
    """A function from a kind of public text, such as ``style``, to what every head attends to on these texts."""
    return lambda kind: _lab(request).attention.on_public_texts(unineuron_arm, kind)


@pytest.fixture
def unineuron_patterns(unineuron_arm: Arm, unineuron_corpus: str, request: pytest.FixtureRequest) -> Patterns:
    """The attention of every head beside that of heads of another seed, on a part of the item's corpus."""
    return _lab(request).attention.patterns(unineuron_arm, unineuron_corpus)


@pytest.fixture
def unineuron_public_patterns(unineuron_arm: Arm, request: pytest.FixtureRequest) -> Callable[[str], Patterns]:
    """A function from the name of a public text, such as ``style 3``, to attention on it beside that of a seed."""
    return lambda name: _lab(request).attention.patterns_on_public_text(unineuron_arm, name)


@pytest.fixture
def unineuron_token_counts(unineuron_arm: Arm, unineuron_corpus: str, request: pytest.FixtureRequest) -> Tensor:
    """How often each token is in the text that the model reads of the item's corpus, [token] int64."""
    return _lab(request).token_counts(unineuron_arm.model, unineuron_corpus)

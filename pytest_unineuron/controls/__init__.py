"""Controls: null models and null texts that must not show an effect. Each keeps a part of the subject.

To add a control here, write its file and add a row to ``CONTROLS``, which is read before torch is imported. Others
are declared with ``extend.control``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_unineuron.extend.table import Table, load

if TYPE_CHECKING:
    from collections.abc import Set

MODEL, UNITS, TEXT, PAIRING, LABELS, SEED = "model", "units", "text", "pairing", "labels", "seed"
"""The part of a trial that a control replaces: the weights, the units within each layer, the text, the text that the
model reads when it is compared with its seeds, the labels of neurons, or the training seed of the weights."""

ACTIVATIONS, SEEDS, LABELLED, PUBLISHED = "activations", "seeds", "labelled neurons", "published neurons"
"""The inputs of a trial besides weights."""

REQUIRED_INPUTS = {
    MODEL: set[str](),
    UNITS: {ACTIVATIONS},
    TEXT: {ACTIVATIONS},
    PAIRING: {SEEDS},
    LABELS: {LABELLED},
    SEED: {PUBLISHED},
}
"""The inputs that a trial must have for a control of each kind to change anything."""


WORDS = ("default", "none")
"""What ``--unineuron-controls`` takes besides names, so that no control can have one of these."""


@dataclass(frozen=True)
class Control:
    """One row: ``make`` is MODULE:FUNCTION or a function, ``replaces`` one of the parts above.

    Controls that are ``default`` run unasked.
    """

    make: Any
    replaces: str
    description: str
    default: bool = True

    def load(self) -> Any:
        """Return the function that makes the control; imports torch."""
        return load(self.make)


BUILT_IN = {
    "untrained": Control(
        "pytest_unineuron.controls.untrained:untrained",
        MODEL,
        "keeps the architecture; every weight has the default initialisation of the library",
    ),
    "reinitialised": Control(
        "pytest_unineuron.controls.reinitialised:reinitialised",
        MODEL,
        "keeps the mean and the standard deviation of every tensor; its weights are drawn from a Normal",
    ),
    "shuffled": Control(
        "pytest_unineuron.controls.shuffled:shuffled",
        MODEL,
        "keeps the values of every tensor; their places are permuted",
    ),
    "rotation": Control(
        "pytest_unineuron.controls.rotation:Rotation",
        UNITS,
        "keeps everything that a layer computes linearly; its standardised units are rotated at random",
    ),
    "shifted-documents": Control(
        "pytest_unineuron.controls.shifted_documents:shifted_documents",
        PAIRING,
        "keeps the model, lengths and positions; it reads other documents than the seeds it is compared with",
    ),
    "random-tokens": Control(
        "pytest_unineuron.controls.random_tokens:random_tokens",
        TEXT,
        "keeps the model and the lengths of the documents; every token is drawn at random",
        default=False,
    ),
    "permuted-labels": Control(
        "pytest_unineuron.controls.permuted_labels:permuted_labels",
        LABELS,
        "keeps the model, the text and the number of labelled neurons in each layer; the neurons are drawn at random",
    ),
    "other-seed": Control(
        "pytest_unineuron.controls.other_seed:other_seed",
        SEED,
        "keeps the architecture, the text and the numbers of the labelled neurons; the weights are of another seed",
    ),
    "planted-sink": Control(
        "pytest_unineuron.controls.planted_sink:planted_sink",
        MODEL,
        "keeps the architecture, untrained; four constants are added to the first embeddings of every text",
        default=False,
    ),
    "exchanged-entries": Control(
        "pytest_unineuron.controls.exchanged_entries:exchanged_entries",
        MODEL,
        "keeps all but the places of the entries of query and key weights, permuted within each head",
        default=False,
    ),
    "exchanged-input-weights": Control(
        "pytest_unineuron.controls.exchanged_input_weights:exchanged_input_weights",
        MODEL,
        "keeps all but the places of the entries of each neuron's input weights",
        default=False,
    ),
}
CONTROLS = Table("control", BUILT_IN)
"""N0, N1, N2, N5, N4, a control for claims about text, and N6 of the trials' catalogue, in this order; then N7,
N8, a null for claims about pooled activations, N9, one for claims about the size of heads' weights, and N10, one for
claims about biases."""


def applicable(inputs: Set[str]) -> tuple[str, ...]:
    """Return the names of the controls that can be made for a trial with these inputs."""
    return tuple(name for name, control in CONTROLS.items() if REQUIRED_INPUTS[control.replaces] <= inputs)


def defaults(inputs: Set[str]) -> tuple[str, ...]:
    """Return the names of the controls that a trial with these inputs has unless it lists its own."""
    return tuple(name for name in applicable(inputs) if CONTROLS[name].default)

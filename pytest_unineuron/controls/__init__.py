"""Controls: what must NOT show the effect. Each keeps something of the subject and destroys the rest.

To add a control, write its file and add a row here. Names can be checked at collection, before torch is
imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Set

MODEL, UNITS, TEXT, PAIRING, LABELS = "model", "units", "text", "pairing", "labels"
"""What a control replaces: the weights, the units within each layer, the text, which text two models share, or
which of the neurons is said to be what."""

ACTIVATIONS, SEEDS, LABELLED = "activations", "seeds", "labelled neurons"
"""What a trial reads besides weights, on which it depends which controls are defined for it."""


@dataclass(frozen=True)
class Control:
    """One row: where the control's code is, what it replaces, and what it keeps and destroys, in words."""

    path: str
    replaces: str
    description: str
    default: bool = True

    def load(self) -> Any:
        """The control itself; importing it imports torch."""
        module, _, attribute = self.path.partition(":")
        return getattr(import_module(module), attribute)


CONTROLS = {
    "untrained": Control(
        "pytest_unineuron.controls.untrained:untrained",
        MODEL,
        "the architecture; every weight is drawn anew by the library's default initialisation",
    ),
    "reinitialised": Control(
        "pytest_unineuron.controls.reinitialised:reinitialised",
        MODEL,
        "the mean and the deviation of every tensor; every weight is drawn anew",
    ),
    "shuffled": Control(
        "pytest_unineuron.controls.shuffled:shuffled",
        MODEL,
        "the values of every tensor; their places are permuted",
    ),
    "rotation": Control(
        "pytest_unineuron.controls.rotation:Rotation",
        UNITS,
        "everything a layer computes, linearly; its standardised units are rotated at random",
    ),
    "shifted-documents": Control(
        "pytest_unineuron.controls.shifted_documents:shifted_documents",
        PAIRING,
        "the model, lengths and positions; it reads other documents than the seeds it is compared with",
    ),
    "random-tokens": Control(
        "pytest_unineuron.controls.random_tokens:random_tokens",
        TEXT,
        "the model and the lengths of the documents; every token is drawn at random",
        default=False,
    ),
    "permuted-labels": Control(
        "pytest_unineuron.controls.permuted_labels:permuted_labels",
        LABELS,
        "the model, the text and how many neurons of each layer are labelled; which ones is drawn at random",
    ),
}
"""N0, N1, N2, N5, N4 and N6 of the trials' catalogue, and a content control for claims about text."""

REQUIRED_READS = {
    MODEL: set[str](),
    UNITS: {ACTIVATIONS},
    TEXT: {ACTIVATIONS},
    PAIRING: {SEEDS},
    LABELS: {LABELLED},
}


def applicable(reads: Set[str]) -> tuple[str, ...]:
    """The controls that can be made for a trial that reads this besides weights."""
    return tuple(name for name, control in CONTROLS.items() if REQUIRED_READS[control.replaces] <= reads)


def defaults(reads: Set[str]) -> tuple[str, ...]:
    """The controls of an ordinary trial that reads this besides weights."""
    return tuple(name for name in applicable(reads) if CONTROLS[name].default)

"""Controls: what must NOT show the effect. Each keeps something of the subject and destroys the rest.

To add a control, write its file and add a row here. Names can be checked at collection, before torch is
imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

MODEL, UNITS, TEXT = "model", "units", "text"
"""What a control replaces: the weights, the units within each layer, or the text."""


@dataclass(frozen=True)
class Control:
    """One row: where the control's code is, what it replaces, and what it keeps and destroys, in words."""

    where: str
    replaces: str
    keeps: str
    default: bool = True

    def function(self) -> Any:
        """The control itself; importing it imports torch."""
        module, _, attribute = self.where.partition(":")
        return getattr(import_module(module), attribute)


CONTROLS = {
    "untrained": Control(
        "pytest_unineuron.controls.untrained:untrained", MODEL,
        "the architecture; every weight is drawn anew by the library's default initialisation",
    ),
    "reinitialised": Control(
        "pytest_unineuron.controls.reinitialised:reinitialised", MODEL,
        "the mean and the deviation of every tensor; every weight is drawn anew",
    ),
    "shuffled": Control(
        "pytest_unineuron.controls.shuffled:shuffled", MODEL,
        "the values of every tensor; their places are permuted",
    ),
    "rotation": Control(
        "pytest_unineuron.controls.rotation:Rotation", UNITS,
        "everything a layer computes, linearly; its standardised units are rotated at random",
    ),
    "random-tokens": Control(
        "pytest_unineuron.controls.random_tokens:random_tokens", TEXT,
        "the model and the lengths of the documents; every token is drawn at random", default=False,
    ),
}  # fmt: skip
"""N0, N1, N2 and N5 of the trials' catalogue, and a content control for claims about text."""


def defined(*, activations: bool) -> tuple[str, ...]:
    """The controls that can be made for a trial: what replaces units or text needs activations to change."""
    return tuple(name for name, control in CONTROLS.items() if activations or control.replaces == MODEL)


def default(*, activations: bool) -> tuple[str, ...]:
    """The controls of an ordinary trial on one model."""
    return tuple(name for name in defined(activations=activations) if CONTROLS[name].default)

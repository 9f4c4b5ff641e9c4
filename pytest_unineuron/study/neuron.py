"""One neuron as a card: its statistics, its strongest tokens, and the tokens that it promotes and suppresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_unineuron.evidence.measurement import format_number
from pytest_unineuron.reports.page import render_frame, render_template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd


@dataclass(frozen=True, eq=False)
class Neuron:
    """One neuron of a model on a corpus.

    ``statistics`` has the columns of ``Study.neurons`` by name, and any other that it was listed by. ``tokens`` is what
    ``Study.top_tokens`` returns, and ``effects`` what ``Study.token_effects`` returns; None for a model without an
    unembedding.
    """

    model: str
    corpus: str
    layer: int
    index: int
    statistics: Mapping[str, float | str]
    tokens: pd.DataFrame
    effects: pd.DataFrame | None = None

    @property
    def name(self) -> str:
        """``layer 5, neuron 17``."""
        return f"layer {self.layer}, neuron {self.index}"

    @property
    def facts(self) -> Iterator[tuple[str, str]]:
        """The statistics in words; those that are nan or empty are left out."""
        known = ((name, value) for name, value in self.statistics.items() if value == value and value != "")
        return ((name.replace("_", " "), _in_words(value)) for name, value in known)

    @property
    def strongest(self) -> list[tuple[str, str, str, str]]:
        """The activation in words, the text before, the token, and the text after it, strongest first."""
        rows = self.tokens[["activation", "before", "token", "after"]].itertuples(index=False, name=None)
        return [(format_number(value), *texts) for value, *texts in rows]

    def words(self, column: str) -> list[str]:
        """The tokens that the neuron ``promotes`` or ``suppresses``."""
        return [] if self.effects is None else list(self.effects[column])

    def _repr_html_(self) -> str:
        return render_frame(render_cards(f"{self.name} of {self.model}", [self]))


def _in_words(value: float | str) -> str:
    return value if isinstance(value, str) else format_number(float(value))


@dataclass(frozen=True)
class _Cards:
    title: str
    neurons: Sequence[Neuron]


def render_cards(title: str, neurons: Sequence[Neuron]) -> str:
    """Return a page of neurons. Everything in it is escaped."""
    return render_template("neurons.html", _Cards(title, neurons))

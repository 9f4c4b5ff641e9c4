"""One neuron as a card: its statistics, its strongest tokens, and the tokens that it promotes and suppresses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_unineuron.evidence.measurement import format_number
from pytest_unineuron.reports.charts import Axis
from pytest_unineuron.reports.page import render_frame, render_template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd


@dataclass(frozen=True, eq=False)
class Neuron:
    """One neuron of a model on a corpus.

    ``statistics`` has the columns of ``Study.neurons`` by name, and any other that it was listed by. ``tokens`` is what
    ``Study.top_tokens`` returns, and ``effects`` what ``Study.token_effects`` returns; None for a model without an
    unembedding. ``histogram`` is what ``Study.histogram`` returns.
    """

    model: str
    corpus: str
    layer: int
    index: int
    statistics: Mapping[str, float | str]
    tokens: pd.DataFrame
    effects: pd.DataFrame | None = None
    histogram: pd.DataFrame | None = None

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

    @property
    def bars(self) -> Bars | None:
        """The histogram as a chart; None if there is none."""
        if self.histogram is None or not self.histogram["tokens"].sum():
            return None
        rows = self.histogram[["low", "high", "tokens"]].itertuples(index=False, name=None)
        return Bars(tuple((float(low), float(high), int(tokens)) for low, high, tokens in rows))

    def words(self, column: str) -> list[str]:
        """The tokens that the neuron ``promotes`` or ``suppresses``."""
        return [] if self.effects is None else list(self.effects[column])

    def _repr_html_(self) -> str:
        return render_frame(render_cards(f"{self.name} of {self.model}", [self]))


@dataclass(frozen=True)
class Bars:
    """A histogram: the low and the high end of each range, and the number of tokens in it, on a logarithmic scale."""

    ranges: tuple[tuple[float, float, int], ...]

    @property
    def axis(self) -> Axis:
        """From the lowest end to the highest."""
        return Axis(self.ranges[0][0], self.ranges[-1][1])

    @property
    def largest(self) -> int:
        """The number of tokens of the highest bar."""
        return max(tokens for _, _, tokens in self.ranges)

    @property
    def path(self) -> str:
        """The SVG path of the bars in a square of 100 by 100; one that stands for a single token is seen, too."""
        at, full = self.axis.at, math.log(1 + self.largest)
        tops = [(at(low), at(high), round(100 - 96 * math.log(1 + n) / full, 2)) for low, high, n in self.ranges if n]
        return "".join(f"M{low} 100V{top}H{high}V100Z" for low, high, top in tops)

    @property
    def zero(self) -> float | None:
        """The place of 0 in per cent of the axis; None if it lies outside."""
        return self.axis.at(0) if self.axis.low < 0 < self.axis.high else None

    @property
    def texts(self) -> list[tuple[str, str, int]]:
        """The ends of each range in words, and its tokens."""
        return [(format_number(low), format_number(high), tokens) for low, high, tokens in self.ranges]


def _in_words(value: float | str) -> str:
    return value if isinstance(value, str) else format_number(float(value))


@dataclass(frozen=True)
class _Cards:
    title: str
    neurons: Sequence[Neuron]


def render_cards(title: str, neurons: Sequence[Neuron]) -> str:
    """Return a page of neurons. Everything in it is escaped."""
    return render_template("neurons.html", _Cards(title, neurons))

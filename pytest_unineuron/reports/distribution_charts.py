"""The data of charts of distributions over neurons: the model beside its controls, over all layers and in each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from pytest_unineuron.evidence.measurement import format_interval, format_number
from pytest_unineuron.reports.charts import CONTROL, MODEL, Axis, Line, LinePlot, ReferenceLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_unineuron.evidence.distribution import Distribution, LayerQuantiles, OfArm


class Shown(NamedTuple):
    """The words for a statistic, the value without an effect if there is one, and whether its axis is logarithmic."""

    words: str
    plain: float | None = None
    log: bool = False


NORMAL_KURTOSIS = 3.0
SHOWN = {
    "excess": Shown("Excess correlation ϱ with further seeds", 0.0),
    "kurtosis": Shown("Kurtosis of the pre-activation", NORMAL_KURTOSIS, log=True),
    "density": Shown("Share of tokens with a positive pre-activation"),
    "composition": Shown("Kurtosis of the vocabulary composition", NORMAL_KURTOSIS, log=True),
}
"""The statistics in the order in which they are shown."""


class Box(NamedTuple):
    """The quantiles of one arm; none if no neuron has the statistic."""

    label: str
    kind: str
    quantiles: tuple[float, ...]

    @property
    def text(self) -> str:
        """The median, with the ends of the middle nine tenths."""
        if not self.quantiles:
            return format_number(None)
        low, _, median, _, high = self.quantiles
        return format_number(median) + format_interval(low, high)


@dataclass(frozen=True)
class BoxPlot:
    """The arms of a model on one axis."""

    title: str
    boxes: tuple[Box, ...]
    axis: Axis
    marks: tuple[ReferenceLine, ...] = ()


class DistributionPlots(NamedTuple):
    """One statistic of a model on one corpus, over all layers and, if there are several, in each."""

    boxes: BoxPlot
    layers: LinePlot | None


def distribution_plots(found: Iterable[Distribution]) -> dict[str, list[list[DistributionPlots]]]:
    """The plots of every model: for each statistic, one of each corpus."""
    order = list(SHOWN)
    known = [each for each in found if each.statistic in SHOWN]
    known.sort(key=lambda each: (each.model, order.index(each.statistic), each.corpus, each.control, each.draw))
    return {
        model: [
            [_plots(list(arms)) for _, arms in groupby(of_statistic, lambda each: each.corpus)]
            for _, of_statistic in groupby(of_model, lambda each: each.statistic)
        ]
        for model, of_model in groupby(known, lambda each: each.model)
    }


def _plots(arms: list[Distribution]) -> DistributionPlots:
    first, shown = arms[0], SHOWN[arms[0].statistic]
    title = f"{shown.words} on {first.corpus}" if first.corpus else shown.words
    marks = () if shown.plain is None else (ReferenceLine("none", shown.plain),)
    boxes = tuple(Box(arm.label, kind_of(arm), arm.rows[0].quantiles) for arm in arms)
    axis = _axis(shown, [end for box in boxes for end in box.quantiles])
    layers = tuple(sorted({row.layer for arm in arms for row in arm.rows if row.layer is not None}))
    lines = tuple(_line(arm, layers) for arm in arms)
    by_layer = _axis(shown, [x for line in lines for x in (*line.values, *_ends(line)) if x is not None])
    plot = LinePlot(f"{title}, by layer", layers, lines, marks, by_layer) if len(layers) > 1 else None
    return DistributionPlots(BoxPlot(title, boxes, axis, marks), plot)


def _axis(shown: Shown, values: list[float]) -> Axis:
    """The range of the values and of what a unit without an effect has."""
    whole = Axis.over([*values, shown.plain])
    return Axis(whole.low, whole.high, log=shown.log and whole.low > 0)


def _line(arm: Distribution, layers: Sequence[int]) -> Line:
    """The medians of an arm by layer, with the ends of the middle nine tenths."""
    rows = {row.layer: row for row in arm.rows}
    low, median, high = (tuple(_quantile(rows.get(layer), at) for layer in layers) for at in (0, 2, 4))
    return Line(arm.label, kind_of(arm), median, low, high)


def _quantile(row: LayerQuantiles | None, at: int) -> float | None:
    return row.quantiles[at] if row is not None and row.quantiles else None


def _ends(line: Line) -> tuple[float | None, ...]:
    """The ends of the band, which only the model has."""
    return (*line.lows, *line.highs) if line.kind == MODEL else ()


def kind_of(arm: OfArm) -> str:
    """The kind of dots and lines that show an arm: those of the model, or of a control."""
    return CONTROL if arm.control else MODEL

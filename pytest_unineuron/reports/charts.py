"""The data of a page's charts: dots with intervals on one axis, and lines over layers. Templates draw it as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from pytest_unineuron.evidence.contrast import NO_EFFECT
from pytest_unineuron.evidence.measurement import format_interval, format_number, measurements_by_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_unineuron.evidence.contrast import Contrast
    from pytest_unineuron.evidence.measurement import Measurement
    from pytest_unineuron.evidence.outcome import CaseResult
    from pytest_unineuron.evidence.unit_contrast import Profile

MODEL, BEFORE, CONTROL = "model", "before", "control"
"""The kinds of dots and lines."""
MARGIN = 4.0
"""The percentage of an axis that stays free on either side."""


@dataclass(frozen=True)
class Axis:
    """The range of the numbers that a chart shows; with ``log``, of positive ones, by their logarithm."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def over(cls, values: Iterable[float | None]) -> Axis:
        """The range of the values that are not None."""
        known = [float(value) for value in values if value is not None] or [0.0]
        return cls(min(known), max(known))

    def at(self, value: float) -> float:
        """The place of a value in per cent of the axis, within its margins; the middle if the axis is a point."""
        # Halves, since the difference of two floats can be infinite.
        low, high, place = (math.log(x) if self.log else x / 2 for x in (self.low, self.high, value))
        share = (place - low) / (high - low) if high != low else 0.5
        return round(MARGIN + share * (100 - 2 * MARGIN), 2)

    @property
    def ends(self) -> tuple[str, str]:
        """Both ends in words, in digits that tell them from each other."""
        return format_number(self.low, self.high), format_number(self.high, self.low)


class Dot(NamedTuple):
    """One number with the ends of its interval, of the model or of a control."""

    label: str
    kind: str
    value: float | None
    low: float | None = None
    high: float | None = None


class ReferenceLine(NamedTuple):
    """A number that dots are compared with: a bound, the limit for controls, or no effect."""

    kind: str
    value: float


@dataclass(frozen=True)
class DotPlot:
    """Numbers on one axis, with what they are compared with."""

    title: str
    claim: str
    dots: tuple[Dot, ...]
    marks: tuple[ReferenceLine, ...] = ()
    fixed: Axis | None = None

    @property
    def axis(self) -> Axis:
        """The range of everything shown, or the fixed one."""
        ends = (end for dot in self.dots for end in (dot.value, dot.low, dot.high))
        return self.fixed or Axis.over([*ends, *(mark.value for mark in self.marks)])

    def text_of(self, dot: Dot) -> str:
        """A number with its interval, in digits that tell it from the bound and the limit."""
        bounds = [mark.value for mark in self.marks if mark.kind != "none"]
        return format_number(dot.value, *bounds) + format_interval(dot.low, dot.high, *bounds)


class Line(NamedTuple):
    """One number for each layer, None where there is none, and what lies on either side of it, if that is known."""

    label: str
    kind: str
    values: tuple[float | None, ...]
    lows: tuple[float | None, ...] = ()
    highs: tuple[float | None, ...] = ()

    @property
    def texts(self) -> list[str]:
        """The numbers in words."""
        pairs = zip(self.lows, self.highs, strict=True) if self.lows else [(None, None)] * len(self.values)
        return [format_number(x) + format_interval(*ends) for x, ends in zip(self.values, pairs, strict=True)]


@dataclass(frozen=True)
class LinePlot:
    """Numbers over layers."""

    title: str
    layers: tuple[int, ...]
    lines: tuple[Line, ...]
    marks: tuple[ReferenceLine, ...] = ()
    fixed: Axis | None = None

    @property
    def axis(self) -> Axis:
        """The range of everything shown, or the fixed one."""
        values = (value for line in self.lines for value in line.values)
        return self.fixed or Axis.over([*values, *(mark.value for mark in self.marks)])

    def path(self, line: Line) -> str:
        """The SVG path of a line in a square of 100 by 100, interrupted where a layer has no number."""
        joined = [before is not None for before in (None, *line.values)]
        places = zip(self._places(line.values), joined, strict=False)
        return "".join(f"{'L' if drawn else 'M'}{place}" for place, drawn in places if place)

    def points(self, line: Line) -> str:
        """The SVG path of a point for each number of a line: strokes without a length, whose round ends are seen."""
        return "".join(f"M{place}h0" for place in self._places(line.values) if place)

    def band(self, line: Line) -> str:
        """The SVG path of the area between the lows and the highs of a line; empty if they are not known."""
        there, back = (list(filter(None, self._places(ends))) for ends in (line.lows, line.highs))
        return f"M{'L'.join([*there, *reversed(back)])}Z" if there else ""

    def _places(self, values: Sequence[float | None]) -> Iterator[str]:
        """The coordinates of the number of each layer; empty where there is none."""
        across, up = Axis(0, len(self.layers) - 1), self.axis
        for number, value in enumerate(values):
            yield "" if value is None else f"{across.at(number):g} {100 - up.at(value):g}"


def dot_plots(case: CaseResult, model: str, before: CaseResult | None = None) -> list[DotPlot]:
    """A plot of every claimed measurement of a case, then one of each measurement against the controls it must exceed.

    ``model`` is the label of the model. ``before`` is the same case of an earlier run, whose numbers are shown too.
    """
    controls = {name: measurements_by_key(arm.measurements) for name, arm in case.arms.items()}
    earlier = measurements_by_key(before.subject.measurements) if before else {}
    plots = []
    for key, m in measurements_by_key(case.subject.measurements).items():
        if m.claimed:
            found = [(model, MODEL, m), (f"{model}, before", BEFORE, earlier.get(key))]
            found += [(name, CONTROL, of_arm.get(key)) for name, of_arm in controls.items()]
            dots = tuple(Dot(label, kind, x.value, x.low, x.high) for label, kind, x in found if x is not None)
            plots.append(DotPlot(_with_unit(m), m.bounds_text, dots, tuple(_marks(m))))
    old = _contrasts(before) if before else {}
    return plots + [_contrast_plot(found, old.get(name, [])) for name, found in _contrasts(case).items()]


def line_plots(case: CaseResult, model: str) -> list[LinePlot]:
    """The profiles over several layers: of each measurement on the model and every control, then of each contrast."""
    controls = {name: measurements_by_key(arm.measurements) for name, arm in case.arms.items()}
    plots = []
    for key, m in measurements_by_key(case.subject.measurements).items():
        if m.profile:
            profiles = [(name, CONTROL, found[key].profile) for name, found in controls.items() if key in found]
            plots.append(_line_plot(f"{m.name}: typical unit of each layer", [(model, MODEL, m.profile), *profiles]))
    for name, found in _contrasts(case).items():
        profiles = [(f"against {c.control}", CONTROL, c.profile) for c in found if c.profile]
        if profiles:
            title = f"{name}: probability of lying beyond a control, by layer"
            plots.append(_line_plot(title, profiles, _contrast_marks(found[0]), Axis(0.0, 1.0)))
    return [plot for plot in plots if len(plot.layers) > 1]  # the number of a single layer is that of all


def _contrasts(case: CaseResult) -> dict[str, list[Contrast]]:
    """The contrasts of a case by measurement, probabilities being those of lying on the claimed side."""
    found: dict[str, list[Contrast]] = {}
    for contrast in case.contrasts:
        found.setdefault(contrast.measurement, []).append(_upwards(contrast))
    return found


def _upwards(c: Contrast) -> Contrast:
    """The contrast; of a probability of being lower, with that of being higher turned into it."""
    if not (c.by_unit and c.lower):
        return c
    value, low, high = (None if x is None else 1 - x for x in (c.value, c.high, c.low))
    profile = tuple((layer, None if x is None else 1 - x) for layer, x in c.profile)
    return replace(c, lower=False, claimed=1 - c.claimed, value=value, low=low, high=high, profile=profile)


def _contrast_plot(found: list[Contrast], before: list[Contrast]) -> DotPlot:
    """The plot of one measurement against every control."""
    old = {c.control: c for c in before}
    dots = [Dot(f"against {c.control}", MODEL, c.value, c.low, c.high) for c in found]
    both = [(f"against {c.control}, before", old[c.control]) for c in found if c.control in old]
    dots += [Dot(label, BEFORE, c.value, c.low, c.high) for label, c in both]
    first = found[0]
    what = "probability of lying beyond a control" if first.by_unit else "difference from a control"
    title, claim = f"{first.measurement}: {what}", f"{first.claim_text} for every control"
    return DotPlot(title, claim, tuple(dots), _contrast_marks(first), Axis(0.0, 1.0) if first.by_unit else None)


def _contrast_marks(c: Contrast) -> tuple[ReferenceLine, ...]:
    return ReferenceLine("none", NO_EFFECT if c.by_unit else 0.0), ReferenceLine("bound", c.claimed)


def _marks(m: Measurement) -> Iterator[ReferenceLine]:
    yield from (ReferenceLine("bound", bound) for bound in (m.above, m.below) if bound is not None)
    if m.null is not None:
        yield ReferenceLine("limit", m.null)


def _with_unit(m: Measurement) -> str:
    return f"{m.name}, {m.unit}" if m.unit else m.name


def _line_plot(
    title: str,
    profiles: list[tuple[str, str, Profile]],
    marks: tuple[ReferenceLine, ...] = (),
    fixed: Axis | None = None,
) -> LinePlot:
    layers = tuple(sorted({layer for _, _, profile in profiles for layer, _ in profile}))
    lines = (Line(label, kind, tuple(map(dict(profile).get, layers))) for label, kind, profile in profiles if profile)
    return LinePlot(title, layers, tuple(lines), marks, fixed)

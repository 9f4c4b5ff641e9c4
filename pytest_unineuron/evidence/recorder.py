"""Records the measurements of the running trial: the ``unineuron_measure`` fixture and the function ``measure``."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import TrialError
from pytest_unineuron.evidence.make_measurement import make_measurement
from pytest_unineuron.evidence.measurement import BoundStatus, Measurement, format_number
from pytest_unineuron.evidence.text import ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Inconclusive(Exception):  # noqa: N818 - not an error: the trial has no answer
    """Raised if a minimum of a trial is not met: the trial is NA, with the message as its reason."""


class Recorder:
    """The measurements of one item, in the order in which they were made, and the sets of units that it listed."""

    def __init__(self) -> None:
        self.measurements: list[Measurement] = []
        self.notes: list[str] = []

    def measure(
        self,
        name: str,
        value: object,
        *,
        unit: str = "",
        above: float | None = None,
        below: float | None = None,
        null: float | None = None,
        higher_by: float | None = None,
        lower_by: float | None = None,
        interval: tuple[float, float] | None = None,
        note: str = "",
    ) -> Measurement:
        """Record a number; with a bound it is judged when the trial ends.

        ``value`` is a number or an estimate with an interval. ``above`` and ``below`` are bounds of the number itself.
        ``higher_by`` or ``lower_by`` claims that the model lies beyond each of its controls by more than this: a
        difference, or for an estimate ``by_unit`` the probability that a unit of the model lies beyond one of the
        control. ``null`` is a limit for controls. A missed bound raises nothing, so that all misses of a trial are
        reported together. Raises TrialError for a value that is not one number.
        """
        measurement = make_measurement(
            name,
            value,
            unit=unit,
            above=above,
            below=below,
            null=null,
            higher_by=higher_by,
            lower_by=lower_by,
            interval=interval,
            note=note,
        )
        self.measurements.append(measurement)
        return measurement

    def needs(self, name: str, value: float, *, at_least: float) -> None:
        """Record a minimum below which nothing can be concluded.

        Raises Inconclusive if it is not met; the plugin turns that into NA: "underpowered: 900 tokens, needs 4000".
        """
        minimum = replace(make_measurement(name, value, above=at_least), needed=True)
        self.measurements.append(minimum)
        if minimum.bound_status is not BoundStatus.HOLDS:
            found, needed = format_number(minimum.value), format_number(minimum.above)
            raise Inconclusive(f"underpowered: {found} {name}, needs {needed}")

    def lists(self, name: str, units: Mapping[int, Sequence[int]]) -> None:
        """List units that the trial chose or drew, by layer, among the notes of this item in the report."""
        layers = [f"layer {layer}: {ranges(numbers)}" for layer, numbers in units.items()]
        self.notes.append(f"{name}: {'; '.join(layers) or 'none'}")

    __call__ = measure


_current: ContextVar[Recorder | None] = ContextVar("unineuron_recorder", default=None)


@contextmanager
def bind_recorder(recorder: Recorder) -> Iterator[Recorder]:
    """Make ``recorder`` the one that the function ``measure`` uses, while the context is open."""
    token = _current.set(recorder)
    try:
        yield recorder
    finally:
        _current.reset(token)


def measure(name: str, value: object, **options: Any) -> Measurement:
    """Record a number for the running trial; for helper functions, and for tests with ``@given``.

    Does the same as the ``unineuron_measure`` fixture. Raises TrialError if no trial is running.
    """
    recorder = _current.get()
    if recorder is None:
        raise TrialError(f"measure({name!r}, …) was called while no trial was running; mark the test gt1, gt2 or gt3")
    return recorder.measure(name, value, **options)

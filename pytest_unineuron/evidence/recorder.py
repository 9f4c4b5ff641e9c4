"""What a running trial hands its measurements to."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import TrialError
from pytest_unineuron.evidence.measurement import BoundStatus, Measurement, format_number, make_measurement

if TYPE_CHECKING:
    from collections.abc import Iterator


class Inconclusive(Exception):  # noqa: N818 - not an error: an answer that cannot be given
    """A trial's minimum is not met: it is NA, with the reason."""


class Recorder:
    """Collects the measurements of one item, in the order in which they were taken."""

    def __init__(self) -> None:
        self.measurements: list[Measurement] = []

    def measure(
        self,
        name: str,
        value: object,
        *,
        unit: str = "",
        above: float | None = None,
        below: float | None = None,
        null: float | None = None,
        interval: tuple[float, float] | None = None,
        note: str = "",
    ) -> Measurement:
        """Record a number; with ``above`` or ``below`` it is judged when the trial ends.

        ``value`` is a number or an estimate that carries its interval. ``null`` is the limit a control must
        keep to. All misses of a trial are reported together, so nothing here raises for a missed bound.
        Raises TrialError for a value that is not one number.
        """
        taken = make_measurement(
            name, value, unit=unit, above=above, below=below, null=null, interval=interval, note=note
        )
        self.measurements.append(taken)
        return taken

    def needs(self, name: str, value: float, *, at_least: float) -> None:
        """Record a minimum without which nothing can be said, and end the trial as NA if it is not met.

        Raises Inconclusive, which the plugin turns into NA: "underpowered: 900 tokens, needs 4000".
        """
        minimum = replace(make_measurement(name, value, above=at_least), needed=True)
        self.measurements.append(minimum)
        if minimum.bound_status is not BoundStatus.HOLDS:
            raise Inconclusive(
                f"underpowered: {format_number(minimum.value)} {name}, needs {format_number(minimum.above)}"
            )

    def __call__(self, name: str, value: object, **said: Any) -> Measurement:
        """``measure(...)`` for short."""
        return self.measure(name, value, **said)


_current: ContextVar[Recorder | None] = ContextVar("unineuron_recorder", default=None)


@contextmanager
def bind_recorder(recorder: Recorder) -> Iterator[Recorder]:
    """Bind ``recorder`` to the running item, so that the module-level ``measure`` finds it."""
    token = _current.set(recorder)
    try:
        yield recorder
    finally:
        _current.reset(token)


def measure(name: str, value: object, **said: Any) -> Measurement:
    """Record a number for the trial that is running. For helpers, and for tests under ``@given``.

    The same as the ``unineuron_measure`` fixture. Raises TrialError outside a running trial.
    """
    recorder = _current.get()
    if recorder is None:
        raise TrialError(f"measure({name!r}, …) was called while no trial was running; mark the test gt1, gt2 or gt3")
    return recorder.measure(name, value, **said)

"""What a dashboard shows of one item: flat properties, each once."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_unineuron.evidence.outcome import ArmResult

PREFIX = "unineuron "
UNDEFINED = "undefined"
_UNFIT = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What cannot stand in an attribute of XML and come out as it went in."""


def properties(trial: str, result: ArmResult) -> list[tuple[str, float | str]]:
    """The trial's id, the outcome of this arm, and every measurement with the ends of its interval.

    pytest cleans the values it writes and not the names. A name that is taken gets a number.
    """
    found: dict[str, float | str] = {}
    count: Counter[str] = Counter()
    for name, value in _said(trial, result):
        plain = unique = PREFIX + _UNFIT.sub(lambda bad: f"#x{ord(bad[0]):02X}", name)
        count[plain] += 1
        while unique in found:
            count[plain] += 1
            unique = f"{plain} ({count[plain] - 1})"
        found[unique] = value
    return list(found.items())


def _said(trial: str, result: ArmResult) -> Iterator[tuple[str, float | str]]:
    yield "trial", trial
    yield "outcome", str(result.outcome)
    for m in result.measurements:
        yield m.name, UNDEFINED if m.value is None else m.value
        yield from (
            (f"{m.name} {end}", value) for end, value in (("low", m.low), ("high", m.high)) if value is not None
        )

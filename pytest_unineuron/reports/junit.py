"""The properties of one item in JUnit XML, which dashboards show: flat pairs of unique names and values."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_unineuron.evidence.outcome import ArmResult

PROPERTY_PREFIX = "unineuron "
_NOT_IN_XML = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""The characters that an attribute of XML cannot contain unchanged."""


def junit_properties(trial: str, result: ArmResult) -> list[tuple[str, float | str]]:
    """The trial's id, the outcome of this arm, and every measurement with the ends of its interval.

    Names are escaped here, since pytest escapes only values. A name that is already taken gets a number.
    """
    found: dict[str, float | str] = {}
    count: Counter[str] = Counter()
    for name, value in _properties_of(trial, result):
        plain = unique = PROPERTY_PREFIX + _NOT_IN_XML.sub(lambda match: f"#x{ord(match[0]):02X}", name)
        count[plain] += 1
        while unique in found:
            count[plain] += 1
            unique = f"{plain} ({count[plain] - 1})"
        found[unique] = value
    return list(found.items())


def _properties_of(trial: str, result: ArmResult) -> Iterator[tuple[str, float | str]]:
    yield "trial", trial
    yield "outcome", str(result.outcome)
    for m in result.measurements:
        yield m.name, "undefined" if m.value is None else m.value
        ends = ((f"{m.name} low", m.low), (f"{m.name} high", m.high))
        yield from ((name, end) for name, end in ends if end is not None)

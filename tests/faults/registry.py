"""All faults, in the order in which they are written down."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One row before it is run. ``name`` is what ``--only`` takes."""

    name: str
    text: str
    promise: str
    run: Callable


FAULTS: list[Fault] = []


def fault(text: str, promise: str) -> Callable:
    """Register a function of a ground as a fault."""

    def register(function: Callable) -> Callable:
        assert all(known.name != function.__name__ for known in FAULTS), f"{function.__name__} is there twice"
        FAULTS.append(Fault(function.__name__, text, promise, function))
        return function

    return register


class Skipped(Exception):  # noqa: N818 - not an error: the fault cannot be made on this machine
    """The fault cannot be made here; the reason stands in the row, and the row is not ok."""

"""Who shares the work of a pass: one process alone, or several that add up what each of them gathered."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_unineuron.statistics.correlation import Covariation, Within

    Keep = Callable[[str, Callable[[], Any]], Any]
    """What makes a part of a result, or finds it among those that were finished before.

    The name begins with a word for what it is, and tells all that it depends on beside what the result does.
    """

T = TypeVar("T")
S = TypeVar("S", "Covariation", "Within")


class Alone:
    """One process that does everything itself. Processes that share work are Ranks, see distributed."""

    index = 0
    count = 1

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """What is this process's to do."""
        return items[self.index :: self.count]

    def agreed(self, make: Callable[[], T]) -> T:
        """What the first process makes, in all of them."""
        return make()

    def gathered(self, own: T) -> list[T]:
        """What every process has, in their order, in all of them."""
        return [own]

    def total(self, own: S | None, device: Any) -> S:
        """The sum over all processes, in all of them. ``own`` is None where there was nothing to do."""
        del device
        assert own is not None
        return own

    def task(self) -> AbstractContextManager[None]:
        """One thing that all processes do. If one of them fails in it, all do, and can go on with the next."""
        return nullcontext()

    def leave(self, reason: str = "") -> None:
        """This process is done, in good order or, for a ``reason``, not."""


def anew(name: str, make: Callable[[], T]) -> T:
    """A part of a result that is made, and not kept by itself: a Keep."""
    del name
    return make()


ALONE = Alone()
"""The process that shares its work with nobody."""

Ranks = Alone
"""One of several, which behaves as if it were alone."""

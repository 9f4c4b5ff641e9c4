"""The process group of one process, which is what code that can share its work sees when it runs alone."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from operator import add
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_unineuron.statistics.correlation import CrossComoments, LayerComoments

    ComputePart = Callable[[str, Callable[[], Any]], Any]
    """Computes this process's part of a result, or returns what an earlier attempt stored of it.

    The name begins with a word for the part and holds all that it depends on beyond the key of the result.
    """

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
Sums = TypeVar("Sums", "CrossComoments", "LayerComoments")


class SingleProcess:
    """A process that does everything itself. Several that share work are a ProcessGroup, see process_group."""

    index = 0
    """The rank of this process."""
    count = 1
    """How many processes there are."""

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """The items that this process has to do."""
        return items[self.index :: self.count]

    def broadcast(self, make: Callable[[], T]) -> T:
        """Return in all processes the value that ``make`` returns in the first one."""
        return make()

    def all_gather(self, own: T) -> list[T]:
        """Return in all processes the values of all of them, in the order of ranks."""
        return [own]

    def all_reduce(self, own: Sums | None, device: Any) -> Sums:
        """The sum over all processes, in all of them. ``own`` is None where there was nothing to do."""
        del device
        assert own is not None
        return own

    def task(self) -> AbstractContextManager[None]:
        """One task that all processes do. If one of them fails in it, all do, and can go on with the next."""
        return nullcontext()

    def leave(self, reason: str = "") -> None:
        """Leave the group, in good order or, for a ``reason``, not."""


def merged(one: Mapping[K, V], other: Mapping[K, V], add: Callable[[V, V], V] = add) -> dict[K, V]:
    """The values of both mappings by key; those of a key that both have are added."""
    both = {key: add(value, other[key]) for key, value in one.items() if key in other}
    return {**one, **other, **both}


def compute_uncached(name: str, compute: Callable[[], T]) -> T:
    """A ComputePart that stores nothing."""
    del name
    return compute()


SINGLE_PROCESS = SingleProcess()

ProcessGroup = SingleProcess
"""The type of either: code that shares its work behaves as if it were alone."""

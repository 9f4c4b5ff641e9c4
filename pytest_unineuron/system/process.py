"""How the process waits and keeps memory, where the ways of torch and of the C library do not go together."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
"""Threads that spin while they wait make torch forty times slower when another process wants the core; threads
that sleep at once cost a quarter on a core of their own. So they spin for some microseconds. OpenMP reads this
once, when torch is imported."""

SETTINGS = {"MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_TRIM_THRESHOLD_": -1}
"""How much memory is kept that is free: bytes of one array, and at the end of the heap. What glibc calls that, where
users say it and where programs do."""

KEEPING = 32 * 2**20, 2**30
"""What it may keep: otherwise it hands memory back to the system after
each layer and gets it again for the next, which costs a tenth of a pass over a model of thousands of neurons."""

RETURNING = 2**20, 2**20
"""The same, where little memory counts more."""


def settle() -> None:
    """Set what the user has not set."""
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    _allocate(KEEPING)


@contextmanager
def frugal(*, on: bool = True) -> Iterator[None]:
    """While open, memory goes back to the system when it is free, where a budget counts more than a tenth of a pass.

    What is kept is kept in pieces, which the next array may not fit into: that was seen to take half as much again.
    """
    library = _allocate(RETURNING) if on else None
    if library is None:
        yield
        return
    library.malloc_trim(0)
    try:
        yield
    finally:
        _allocate(KEEPING)


def _allocate(sizes: tuple[int, int]) -> Any:
    """Tell the C library, and return it; None if it is another one or the user told it otherwise."""
    if any(name in os.environ for name in SETTINGS):
        return None
    try:
        library = ctypes.CDLL(None)
        setting, _ = library.mallopt, library.malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    for number, size in zip(SETTINGS.values(), sizes, strict=True):
        setting(number, size)
    return library

"""How this process waits, computes and retains freed memory during a run of trials.

Nothing is changed on import. ``configure`` is called when a run makes its lab, and respects what the user has set.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENMP = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
"""Waiting threads spin for some microseconds. Threads that spin on make torch forty times slower when another process
wants the core; threads that sleep at once cost a quarter on a core of their own. OpenMP reads this when torch is
imported."""

MALLOC = {"MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_TRIM_THRESHOLD_": -1}
"""Environment variables of glibc's allocator, and the numbers that ``mallopt`` calls them by: the size in bytes from
which an array is mapped by itself, and the free memory that is retained at the end of the heap."""

RETAIN = 32 * 2**20, 2**30
"""Values for MALLOC: otherwise glibc returns memory to the system after each layer and gets it again for the next,
which costs a tenth of a pass over a model of thousands of neurons."""
RETURN = 2**20, 2**20
"""Values for MALLOC in a tight memory budget: fragmentation of retained memory was seen to add half as much again."""

_configured = False


def configure(threads: int = 0) -> None:
    """Set, for a run of trials, what the user has not set: OpenMP's waiting, the allocator, threads and logging.

    ``threads`` is the number of CPU threads, 0 for torch's own choice. Imports torch and transformers.
    """
    global _configured
    for name, value in OPENMP.items():
        os.environ.setdefault(name, value)
    _configured = _set_malloc(RETAIN) is not None
    import torch
    import transformers

    if threads:
        torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def returning_memory(*, on: bool = True) -> Iterator[None]:
    """Return freed memory to the system while open, in a process that was configured to retain it."""
    library = _set_malloc(RETURN) if on and _configured else None
    if library is None:
        yield
        return
    library.malloc_trim(0)
    try:
        yield
    finally:
        _set_malloc(RETAIN)


def return_freed_memory() -> None:
    """Return the memory that was freed so far to the system, in a process that was configured to retain it."""
    if _configured:
        ctypes.CDLL(None).malloc_trim(0)


def _set_malloc(sizes: tuple[int, int]) -> Any:
    """Configure the C library's allocator and return the library; None if it is another one or the user set it."""
    if any(name in os.environ for name in MALLOC):
        return None
    try:
        library = ctypes.CDLL(None)
        set_option, _ = library.mallopt, library.malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    for option, size in zip(MALLOC.values(), sizes, strict=True):
        set_option(option, size)
    return library

"""How the process waits and keeps memory, where the ways of torch and of the C library do not go together."""

from __future__ import annotations

import ctypes
import os

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
"""Threads that spin while they wait make torch forty times slower when another process wants the core; threads
that sleep at once cost a quarter on a core of their own. So they spin for some microseconds. OpenMP reads this
once, when torch is imported."""

KEEPING = {"MALLOC_MMAP_THRESHOLD_": (-3, 32 * 2**20), "MALLOC_TRIM_THRESHOLD_": (-1, 2**30)}
"""What glibc calls these settings, and how much it may keep: otherwise it hands memory back to the system after
each layer and gets it again for the next, which costs a tenth of a pass over a model of thousands of neurons."""


def settle() -> None:
    """Set what the user has not set."""
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    if any(name in os.environ for name in KEEPING):
        return
    try:
        setting = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    for number, size in KEEPING.values():
        setting(number, size)

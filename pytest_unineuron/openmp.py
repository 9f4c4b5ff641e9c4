"""How torch's threads wait for one another. OpenMP reads this once, when torch is imported."""

from __future__ import annotations

import os

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
"""Threads that spin while they wait make torch forty times slower when another process wants the core; threads
that sleep at once cost a quarter on a core of their own. So they spin for some microseconds."""


def settle() -> None:
    """Set what the user has not set."""
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)

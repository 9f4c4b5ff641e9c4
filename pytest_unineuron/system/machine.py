"""The free memory, the processor and the GPUs of the machine. Imports no torch."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


GIB = 2**30
"""Bytes of a GiB."""


def free_memory() -> int | None:
    """Return the bytes of memory that can be used without swapping; None where the system does not report them."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def has_intel_cpu() -> bool:
    """Return whether the processor is made by Intel, as far as the system reports it."""
    try:
        description = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        description = platform.processor()
    return "GenuineIntel" in description


def chosen_gpu(gpus: int, environment: Mapping[str, str] = os.environ) -> str:
    """Return the device of ``--unineuron-device=auto``: one of ``gpus`` GPUs, or the CPU if there is none.

    Processes take GPUs in turn, by their local rank under torchrun, else by their number among the workers of xdist.
    The GPU of a Mac (mps) is not used, since it has no float64, the type of all sums.

    >>> chosen_gpu(2, {"PYTEST_XDIST_WORKER": "gw3"})
    'cuda:1'
    """
    if not gpus:
        return "cpu"
    worker = re.fullmatch(r"gw(\d+)", environment.get("PYTEST_XDIST_WORKER", ""))
    number = environment.get("LOCAL_RANK") or (worker[1] if worker else "0")
    return f"cuda:{int(number) % gpus}" if gpus > 1 else "cuda"


def format_gib(number: float) -> str:
    """Return a number of bytes in words.

    >>> format_gib(2**31), format_gib(2**20)
    ('2 GiB', '0.000977 GiB')
    """
    return f"{number / GIB:.3g} GiB"

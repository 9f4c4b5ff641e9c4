"""What the machine has to spare, as well as it tells, and what of it a process takes. No torch."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def free_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def intel() -> bool:
    """Whether the processor is Intel's, as far as the system tells."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        told = platform.processor()
    return "GenuineIntel" in told


def chosen_gpu(gpus: int, environment: Mapping[str, str] = os.environ) -> str:
    """The device of ``--unineuron-device=auto``: a GPU of its own for each process, as far as there are any.

    By its rank on this host under torchrun, else by its number among the workers of xdist, in turn. A Mac's GPU
    (mps) knows no float64, in which all sums are kept, so it is not taken.

    >>> chosen_gpu(2, {"PYTEST_XDIST_WORKER": "gw3"})
    'cuda:1'
    """
    if not gpus:
        return "cpu"
    worker = re.fullmatch(r"gw(\d+)", environment.get("PYTEST_XDIST_WORKER", ""))
    number = environment.get("LOCAL_RANK") or (worker[1] if worker else "0")
    return f"cuda:{int(number) % gpus}" if gpus > 1 else "cuda"

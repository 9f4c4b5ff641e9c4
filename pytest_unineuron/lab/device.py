"""Which of several GPUs a process takes, where it was not told."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def chosen(gpus: int, environment: Mapping[str, str] = os.environ) -> str:
    """The device of ``--unineuron-device=auto``: a GPU of its own for each process, as far as there are any.

    By its rank on this host under torchrun, else by its number among the workers of xdist, in turn. A Mac's GPU
    (mps) knows no float64, in which all sums are kept, so it is not taken.

    >>> chosen(2, {"PYTEST_XDIST_WORKER": "gw3"})
    'cuda:1'
    """
    if not gpus:
        return "cpu"
    worker = re.fullmatch(r"gw(\d+)", environment.get("PYTEST_XDIST_WORKER", ""))
    number = environment.get("LOCAL_RANK") or (worker[1] if worker else "0")
    return f"cuda:{int(number) % gpus}" if gpus > 1 else "cuda"

"""What a run was made on, in words that name no host."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("pytest-unineuron", "torch", "transformers", "pytest", "pytest-xdist")


def made(command: str, threads: int, device: str) -> dict[str, Any]:
    """When, how, and on what."""
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "device": words(threads, device),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
    }


def words(threads: int, device: str) -> str:
    """Such as ``2 CPU cores (2 threads), AVX512, no AMX``, with the GPU's name before it where one was used."""
    import torch

    vectors = torch.backends.cpu.get_cpu_capability()
    amx = "AMX" if "amx_tile" in _flags() else "no AMX"
    cpu = f"{cores()} CPU cores ({threads} threads), {vectors}, {amx}"
    return f"{torch.cuda.get_device_name(device)}; {cpu}" if device.startswith("cuda") else cpu


def cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _flags() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"

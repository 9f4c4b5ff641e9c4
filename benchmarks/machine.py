"""The provenance of a result: command, date, processor and versions, without the name of the host."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pytest_unineuron.system.process import cores

PACKAGES = ("pytest-unineuron", "torch", "transformers", "pytest", "pytest-xdist")
MAKERS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}


def provenance(command: str, threads: int, device: str) -> dict[str, Any]:
    """The command, date, machine and versions of a result, as JSON data."""
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe_machine(threads, device),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
    }


def describe_machine(threads: int, device: str) -> str:
    """The processor, such as ``2 CPU cores (2 threads), AMD, AVX512, no AMX``; the GPU first if one is used."""
    amx = "AMX" if "amx_tile" in _cpu_info("flags").split() else "no AMX"
    cpu = f"{cores()} CPU cores ({threads} threads), {processor()}, {amx}"
    return f"{processor(device)}; {cpu}" if device.startswith("cuda") else cpu


def processor(device: str = "cpu") -> str:
    """The name of a GPU, or the maker of the CPU and its vector instructions, such as ``AMD, AVX512``."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    maker = _cpu_info("vendor_id")
    return f"{MAKERS.get(maker, maker) or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def _cpu_info(field: str) -> str:
    """A field of the first CPU in /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"

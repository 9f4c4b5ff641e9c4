"""Environments of other libraries: installed when they are first needed, and reused."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

REQUIREMENTS = {
    "hooked": "transformer-lens>=3,<4",
    "bridge": "transformer-lens>=4,<5",
    "nnsight": "nnsight>=0.8,<0.9",
}
"""The requirement of each environment besides torch."""


def default_folder() -> Path:
    """The folder of the environments in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pytest-unineuron" / "benchmarks"


def python(name: str, folder: Path) -> Path:
    """The interpreter of an environment, which is installed if it is missing or its requirements have changed.

    It has the same version of torch as this process. Raises RuntimeError if pip fails.
    """
    torch = version("torch").partition("+")[0]  # without the build
    requirements = [f"torch=={torch}", REQUIREMENTS[name]]
    place, installed = folder / name, folder / f"{name}.txt"
    interpreter = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if interpreter.is_file() and installed.is_file() and installed.read_text("utf-8").split("\n") == requirements:
        return interpreter
    print(f"installing {' and '.join(requirements)} (about 1 GB)", file=sys.stderr, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    make = [sys.executable, "-m", "venv", "--clear", str(place)]
    install = [str(interpreter), "-m", "pip", "install", "-q", *requirements]
    for command in (make, install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' and '.join(requirements)} cannot be installed: {done.stderr[-1000:]}")
    installed.write_text("\n".join(requirements), encoding="utf-8")
    return interpreter

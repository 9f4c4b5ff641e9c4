"""Environments for libraries that are compared: made when they are first asked for, and kept."""

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
"""What each environment needs besides torch."""


def default_folder() -> Path:
    """Where environments are kept: below the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pytest-unineuron" / "benchmarks"


def python(name: str, folder: Path) -> Path:
    """The interpreter of an environment, which is made if it is not there or asks for something else by now.

    It gets the version of torch that is installed here. Raises RuntimeError if pip fails.
    """
    wanted = [f"torch=={_torch()}", REQUIREMENTS[name]]
    place, note = folder / name, folder / f"{name}.txt"
    found = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if found.is_file() and note.is_file() and note.read_text(encoding="utf-8").split("\n") == wanted:
        return found
    print(f"making an environment with {' and '.join(wanted)} (about 1 GB)", file=sys.stderr, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    making = [sys.executable, "-m", "venv", "--clear", str(place)]
    filling = [str(found), "-m", "pip", "install", "-q", *wanted]
    for command in (making, filling):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' and '.join(wanted)} cannot be installed: {done.stderr[-1000:]}")
    note.write_text("\n".join(wanted), encoding="utf-8")
    return found


def _torch() -> str:
    """The version of torch here, without what it was built for."""
    return version("torch").partition("+")[0]

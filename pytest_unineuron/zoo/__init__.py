"""The nano models: trained weights that ship with the package, and the recipe that trained them."""

from __future__ import annotations

import os
from pathlib import Path

PREFIX = "nano:"


def folders() -> dict[str, Path]:
    """Every nano model by name, from the package and from ``UNINEURON_ZOO`` (a folder made by the recipe).

    A model of that folder stands in for a shipped one of the same name.
    """
    roots = [Path(__file__).parent / "models"]
    if extra := os.environ.get("UNINEURON_ZOO"):
        roots.append(Path(extra).expanduser())
    return {path.parent.name: path.parent for root in roots for path in sorted(root.glob("*/config.json"))}

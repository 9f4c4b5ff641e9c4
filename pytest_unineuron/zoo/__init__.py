"""The nano models: small trained models that ship with the package. Their recipe is in tools/zoo of the repository."""

from __future__ import annotations

import os
from pathlib import Path

PREFIX = "nano:"
"""The start of the name of a nano model, as a user types it."""


def folders() -> dict[str, Path]:
    """The folder of every nano model by its name, from the package and from the folder named by ``UNINEURON_ZOO``.

    A model in the latter replaces one of the same name that ships with the package.
    """
    roots = [Path(__file__).parent / "models"]
    if extra := os.environ.get("UNINEURON_ZOO"):
        roots.append(Path(extra).expanduser())
    return {path.parent.name: path.parent for root in roots for path in sorted(root.glob("*/config.json"))}

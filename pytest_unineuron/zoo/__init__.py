"""The nano models: small trained models that ship with the package. Their recipe is in tools/zoo of the repository."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_unineuron.errors import OptionError
from pytest_unineuron.system.paths import did_you_mean_path, is_folder, resolve_path

VARIABLE = "UNINEURON_ZOO"
"""The environment variable that names a folder of further models."""
PREFIX = "nano:"
"""The start of the name of a nano model, as a user types it."""


def folders() -> dict[str, Path]:
    """The folder of every nano model by its name, from the package and from the folder named by ``UNINEURON_ZOO``.

    A model in the latter replaces one of the same name that ships with the package.
    """
    roots = [Path(__file__).parent / "models", *_named()]
    return {path.parent.name: path.parent for root in roots for path in sorted(root.glob("*/config.json"))}


def check() -> None:
    """Raise OptionError if ``UNINEURON_ZOO`` names no folder of models: those that ship would be taken for them."""
    for root in _named():
        found = f"{VARIABLE}={os.environ[VARIABLE]}"
        hint = "name the folder of the folders of models, or unset it"
        if not is_folder(root):
            raise OptionError(f"{found}: there is no such folder; {hint}{did_you_mean_path(root)}")
        if not any(root.glob("*/config.json")):
            raise OptionError(f"{found}: no folder in it has a config.json; {hint}")


def _named() -> list[Path]:
    """The folder that the environment names, if it names one. Raises OptionError for an unknown home."""
    named = os.environ.get(VARIABLE)
    return [resolve_path(named)] if named else []

"""Files and folders by the names that people type."""

from __future__ import annotations

from pathlib import Path

from pytest_unineuron.errors import OptionError


def typed(name: str | Path, started: Path | None = None) -> Path:
    """The path that was typed, with ``~`` spelled out, relative to where the command was ``started``.

    Raises OptionError for the home of a user that there is not.
    """
    try:
        return (started or Path()) / Path(name).expanduser()
    except RuntimeError as error:
        raise OptionError(f"{name}: {error}; give the whole path") from None

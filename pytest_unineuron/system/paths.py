"""Paths that users type, and atomic writes."""

from __future__ import annotations

import difflib
import os
import tempfile
from pathlib import Path

from pytest_unineuron.errors import OptionError

PART_SUFFIX = ".part"
"""Ending of a file that is being written."""


def resolve_path(name: str | Path, started: Path | None = None) -> Path:
    """Return the path of a name that was typed, with ``~`` spelled out, relative to the folder ``started``.

    Raises OptionError for the home of a user who does not exist.
    """
    try:
        return (started or Path()) / Path(name).expanduser()
    except RuntimeError as error:
        raise OptionError(f"{name}: {error}; give the whole path") from None


def typed(path: Path) -> Path:
    """Return the absolute path as it was typed, not what links lead to."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def cached_hub_id(path: Path, kind: str = "models") -> str:
    """Return the hub id of a model or data set whose folder is a snapshot in the cache of the hub; empty for any other.

    >>> cached_hub_id(Path("/cache/models--EleutherAI--pythia-70m/snapshots/e93a9faa"))
    'EleutherAI/pythia-70m'
    """
    repository = typed(path).parent.parent.name
    if typed(path).parent.name != "snapshots" or not repository.startswith(f"{kind}--"):
        return ""
    return repository.removeprefix(f"{kind}--").replace("--", "/")


def status_of(path: Path) -> os.stat_result | None:
    """Return the status of what is at a path, or None if nothing is.

    Raises OSError for a name that no file can have, or a folder that may not be read, about which ``Path.exists`` and
    ``Path.is_dir`` are silent from Python 3.14 on.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null character
        return None


def is_folder(path: Path) -> bool:
    """Return whether there is a folder at a path; not at one with a name that no folder can have."""
    try:
        return path.is_dir()
    except OSError:
        return False


def beside(path: Path) -> list[str]:
    """Return the paths of everything in the folder of a path, which may not exist, as a user would type them."""
    try:
        return [str(each) for each in path.parent.iterdir()]
    except OSError:
        return []


def did_you_mean_path(path: Path) -> str:
    """Return the end of a message about a path that is none: the one in its folder whose name is most similar.

    Empty if no name is similar, or if there is the path itself.
    """
    known = {Path(each).name: each for each in beside(path)}
    near = difflib.get_close_matches(path.name, known, n=1)
    return f"; did you mean {known[near[0]]}?" if near and path.name not in known else ""


def write_atomically(path: Path, content: bytes, *, durable: bool = False, exclusive: bool = False) -> None:
    """Write a file under another name in the same folder, then rename it: other processes see all of it or nothing.

    ``durable`` waits until the disk has it; ``exclusive`` fails if the file exists. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART_SUFFIX)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())  # mkstemp makes files for their owner alone
        if exclusive:
            os.link(part, path)
        else:
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

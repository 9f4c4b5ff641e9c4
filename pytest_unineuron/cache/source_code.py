"""The source that a trial is made of: its file, the conftests above it, and what these import of the project."""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OWN = Path(__file__).parent.parent
INSTALLED = ("site-packages", "dist-packages")
"""Folders of installed packages, which are not followed."""


def code_digest(file: Path, root: Path, plugins: Iterable[Path] = ()) -> str:
    """SHA-256 of all source of the project that a trial's file is made of, with the names it has below ``root``.

    Followed are ``import`` statements, wherever they stand, and names in ``pytest_plugins``, to files that are not
    installed; ``plugins`` are files of such plugins that were named otherwise. What a trial reads from other files,
    or imports by a name that is made at run time, is not seen.
    """
    above = [folder / "conftest.py" for folder in file.parents if folder == root or root in folder.parents]
    waiting = [file, *above, *plugins]
    seen: dict[Path, bytes] = {}
    while waiting:
        path = waiting.pop()
        if path not in seen and path.is_file() and _of_project(path):
            seen[path] = path.read_bytes()
            waiting += _imported(path, seen[path])
    total = hashlib.sha256()
    for path in sorted(seen):
        name = path.relative_to(root).as_posix() if root in path.parents else path.name
        total.update(name.encode() + b"\0" + hashlib.sha256(seen[path]).digest())
    return total.hexdigest()


INSTRUMENTS = ("activations", "controls", "corpora", "lab", "models", "statistics", "universality")
"""The rooms of this package whose source decides what is measured; the others decide how it is judged and told."""


@cache
def own_digest(*rooms: str) -> str:
    """SHA-256 of the source of this package, or of the named folders of it.

    Raises FileNotFoundError for a folder without source: its digest would never change.
    """
    total = hashlib.sha256()
    paths = [path for folder in rooms or (".",) for path in _source_of(folder)]
    for path in sorted(paths):
        total.update(path.relative_to(OWN).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _source_of(folder: str) -> list[Path]:
    found = list((OWN / folder).rglob("*.py"))
    if not found:
        raise FileNotFoundError(f"{OWN / folder} holds no source; name a folder of the package")
    return found


def of_project(modules: Iterable[object]) -> list[Path]:
    """The files of those modules that are not installed, conftests aside: these count for the trials below them."""
    files = [Path(file) for file in (getattr(module, "__file__", None) for module in modules) if file]
    return [file for file in files if file.name != "conftest.py" and _of_project(file)]


def _imported(path: Path, source: bytes) -> Iterator[Path]:
    """Where the files that a file imports may stand."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _named(alias.name)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" if node.module else alias.name for alias in node.names]
            for name in names:
                yield from _named(name) if not node.level else _below(path.parents[node.level - 1], name)
        elif isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "pytest_plugins" for t in node.targets):
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield from _named(part.value)


def _named(name: str) -> Iterator[Path]:
    """Where a module may stand, and the packages it is in: as loaded, or on the path of modules."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        if file := getattr(sys.modules.get(".".join(parts[:end])), "__file__", None):
            yield Path(file)
    for folder in dict.fromkeys(map(Path, sys.path)):
        if _of_project(folder / "x.py"):
            yield from _below(folder.absolute(), name)


def _below(folder: Path, name: str) -> Iterator[Path]:
    """The files of a dotted name below a folder: every package on the way, and what stands at its end."""
    yield folder / "__init__.py"
    for part in name.split("."):
        yield folder / f"{part}.py"
        folder = folder / part
        yield folder / "__init__.py"


@cache
def _library() -> tuple[Path, ...]:
    return tuple({Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")})


def _of_project(path: Path) -> bool:
    installed = any(part in INSTALLED for part in path.parts) or any(base in path.parents for base in _library())
    return not installed and OWN not in path.parents

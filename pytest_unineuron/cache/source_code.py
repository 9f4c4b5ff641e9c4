"""Digests of the source of a trial: its file, the conftest files above it, and what these import of the project."""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGE_FOLDER = Path(__file__).parent.parent
TRIALS_FOLDER = PACKAGE_FOLDER / "evals"
"""The folder of the trials in an installed package; each trial has a digest of its own."""
INSTALL_FOLDERS = ("site-packages", "dist-packages")
"""Folders of installed packages, whose modules are not part of the source of a trial."""


def code_digest(file: Path, root: Path, plugins: Iterable[Path] = (), extensions: Iterable[Path] = ()) -> str:
    """Return the SHA-256 of the source files of a trial, by content and by path below ``root``.

    These are the file itself, the conftest files that pytest reads above it, ``plugins``, and every file of the
    project that one of them imports or names in ``pytest_plugins``; and of ``extensions`` what ``extension_digest``
    says. Other installed packages, data files, and modules whose names are computed at run time are not included.
    """
    above = (folder / "conftest.py" for folder in file.parents if folder not in root.parents)
    seen = _with_imports([file, *above], plugins) | _with_imports(extensions)
    names = {path: path.relative_to(root).as_posix() if root in path.parents else path.name for path in seen}
    return _source_digest((names[path], seen[path]) for path in sorted(seen))


def extension_digest(file: Path) -> str:
    """Return the SHA-256 of the source of an extension: its file, and what this imports of its package or project."""
    seen = _with_imports([file])
    return _source_digest((path.name, seen[path]) for path in sorted(seen))


def _with_imports(files: Iterable[Path], plugins: Iterable[Path] = ()) -> dict[Path, bytes]:
    """The source of files, wherever they are, and of what they import of the project or of their own packages.

    ``plugins`` are added if they belong to the project.
    """
    own = list(files)
    packages = {package for package in map(_package_of, own) if package}
    waiting, tried = [*own, *plugins], set()
    seen: dict[Path, bytes] = {}
    while waiting:
        path = waiting.pop()
        if path in tried:
            continue
        tried.add(path)
        if path.is_file() and (path in own or packages.intersection(path.parents) or _is_project_file(path)):
            seen[path] = path.read_bytes()
            waiting += _imported_files(path, seen[path])
    return seen


def _package_of(file: Path) -> Path | None:
    """The folder of the outermost package that a file is in, unless that is this one; None if it is in none."""
    inside = None
    for folder in file.parents:
        if not (folder / "__init__.py").is_file():
            break
        inside = folder
    return inside if inside != PACKAGE_FOLDER else None


INSTRUMENTS = ("activations", "controls", "corpora", "lab", "models", "roles", "statistics", "universality")
"""The folders of this package whose source determines measurements; the others judge and report them."""


@cache
def package_digest(*folders: str) -> str:
    """Return the SHA-256 of the source of this package, or of some of its folders; without trials that are installed.

    Raises FileNotFoundError for a folder without source, whose digest would never change.
    """
    found = [path for folder in folders or (".",) for path in _source_of(folder)]
    paths = [path for path in found if TRIALS_FOLDER not in path.parents]
    return _source_digest((path.relative_to(PACKAGE_FOLDER).as_posix(), path.read_bytes()) for path in sorted(paths))


def _source_digest(files: Iterable[tuple[str, bytes]]) -> str:
    """SHA-256 of the names and contents of files, in the order given."""
    total = hashlib.sha256()
    for name, content in files:
        total.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return total.hexdigest()


def _source_of(folder: str) -> list[Path]:
    found = list((PACKAGE_FOLDER / folder).rglob("*.py"))
    if not found:
        raise FileNotFoundError(f"{PACKAGE_FOLDER / folder} holds no source; name a folder of the package")
    return found


def project_files(modules: Iterable[object]) -> list[Path]:
    """Return the files of those modules that belong to the project, without conftest files."""
    files = [Path(file) for file in (getattr(module, "__file__", None) for module in modules) if file]
    return [file for file in files if file.name != "conftest.py" and _is_project_file(file)]


def _imported_files(path: Path, source: bytes) -> Iterator[Path]:
    """The paths at which the modules that a file imports may be."""
    for name, level in _imports(source):
        yield from _below(path.parents[level - 1], name) if level else _module_files(name)


@lru_cache(maxsize=4096)
def _imports(source: bytes) -> tuple[tuple[str, int], ...]:
    """The modules that a source imports or names in ``pytest_plugins``, each with the dots of a relative import."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    found: dict[tuple[str, int], None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.name, 0): None for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" if node.module else alias.name for alias in node.names)
            found |= {(name, node.level): None for name in names}
        elif isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "pytest_plugins" for t in node.targets):
            parts = (part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant))
            found |= {(part, 0): None for part in parts if isinstance(part, str)}
    return tuple(found)


def _module_files(name: str) -> Iterator[Path]:
    """The paths at which a module and its parent packages may be: where they were loaded from, or below sys.path."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        if file := getattr(sys.modules.get(".".join(parts[:end])), "__file__", None):
            yield Path(file)
    for folder in _project_folders(tuple(sys.path)):
        yield from _below(folder.absolute(), name)


@cache
def _project_folders(search_path: tuple[str, ...]) -> list[Path]:
    """The folders of a search path in which modules of the project may be."""
    return [folder for folder in dict.fromkeys(map(Path, search_path)) if _is_project_file(folder / "x.py")]


def _below(folder: Path, name: str) -> Iterator[Path]:
    """The paths at which a module and its parent packages may be below a folder."""
    yield folder / "__init__.py"
    for part in name.split("."):
        yield folder / f"{part}.py"
        folder = folder / part
        yield folder / "__init__.py"


@cache
def _standard_library() -> tuple[Path, ...]:
    return tuple({Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")})


def _is_project_file(path: Path) -> bool:
    if any(part in INSTALL_FOLDERS for part in path.parts):
        return False
    return not any(folder in path.parents for folder in (*_standard_library(), PACKAGE_FOLDER))

"""The source that a trial is made of: its file, the conftests above it, and what these import of the project."""

from __future__ import annotations

import ast
import hashlib
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = Path(__file__).parent
FOREIGN = ("site-packages", "dist-packages")
"""Folders of installed packages: their versions stand in the report."""


def code_digest(file: Path, root: Path) -> str:
    """SHA-256 of all source below ``root`` that a trial's file is made of, with the names it has there.

    Followed are ``import`` statements, wherever they stand, to modules that are loaded. What a trial reads from
    other files, or imports by a name made at run time, is not seen.
    """
    waiting = [file, *(folder / "conftest.py" for folder in file.parents if folder == root or root in folder.parents)]
    seen: dict[Path, bytes] = {}
    while waiting:
        path = waiting.pop()
        if path in seen or not path.is_file():
            continue
        seen[path] = path.read_bytes()
        waiting += _imported(path, seen[path], root)
    total = hashlib.sha256()
    for path in sorted(seen):
        name = path.relative_to(root).as_posix() if root in path.parents else path.name
        total.update(name.encode() + b"\0" + hashlib.sha256(seen[path]).digest())
    return total.hexdigest()


@cache
def own_digest() -> str:
    """SHA-256 of the source of this package, which measures and judges."""
    total = hashlib.sha256()
    for path in sorted(OWN.rglob("*.py")):
        total.update(path.relative_to(OWN).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _imported(path: Path, source: bytes, root: Path) -> Iterator[Path]:
    """The files below ``root`` of the modules that a file imports."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    loaded = _by_file().get(path)
    package = (loaded or "").rpartition(".")[0] if path.name != "__init__.py" else (loaded or "")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(part for part in (*above, node.module or "") if part)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            found = getattr(sys.modules.get(name), "__file__", None)
            if found and _of_project(Path(found), root):
                yield Path(found)


def _of_project(path: Path, root: Path) -> bool:
    return root in path.parents and OWN not in path.parents and not any(part in FOREIGN for part in path.parts)


def _by_file() -> dict[Path, str]:
    modules = [(getattr(module, "__file__", None), name) for name, module in list(sys.modules.items())]
    return {Path(file): name for file, name in modules if file}

"""A table of the things of one kind by name: those of this package, and those that extensions add."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_unineuron.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


def load(target: Any) -> Any:
    """Return the object that a path, MODULE:NAME, names, which imports its module; anything else as it is."""
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def taken(kind: str, name: str, file: Path | None = None) -> str:
    """Return the words for a name that is taken: by an extension in a ``file``, or by this package."""
    return f"there is a {kind} {name!r} already, in {file or 'pytest_unineuron'}; choose another name"


class Table(Mapping[str, T]):
    """Rows by name, in the order in which they were added. ``kind`` is what a row is, in words."""

    def __init__(self, kind: str, rows: Mapping[str, T]) -> None:
        self.kind = kind
        self._rows: dict[str, T] = {}
        self._files: dict[str, Path] = {}
        for name, row in rows.items():
            self.add(name, row)

    def add(self, name: str, row: T, file: Path | None = None) -> None:
        """Add a row, which an extension has in a ``file``. Raises OptionError for a name that is taken."""
        if name in self._rows:
            raise OptionError(f"{file}: {taken(self.kind, name, self._files.get(name))}")
        self._rows[name] = row
        if file is not None:
            self._files[name] = file

    def remove(self, name: str) -> None:
        """Remove the row of an extension."""
        del self._rows[name], self._files[name]

    @property
    def files(self) -> Mapping[str, Path]:
        """The files of the rows that extensions added, by name."""
        return self._files

    def __getitem__(self, name: str) -> T:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

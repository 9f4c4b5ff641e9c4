"""What pytest was given: files, folders and packages, and where it was started."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


class Arguments:
    """The arguments of one run of pytest, as its report holds them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        found = {"paths": self.paths, "root": self.root, "part": self.part}
        return found | ({"package": self.package} if self.package else {})

    @property
    def part(self) -> list[str]:
        """The options of pytest that leave items out; without a failure before, these leave out nothing."""
        flags = (("--lf", "lf", "cache/lastfailed"), ("--sw", "stepwise", "cache/stepwise"))
        return [flag for flag, name, key in flags if self._config.getoption(name, False) and self._failed_before(key)]

    def _failed_before(self, key: str) -> bool:
        """Whether pytest noted a failure in an earlier run."""
        cache = getattr(self._config, "cache", None)
        found = cache.get(key, None) if cache is not None else None
        return bool(found["last_failed"] if isinstance(found, dict) and "last_failed" in found else found)

    @property
    def root(self) -> str:
        """Pytest's root folder, relative to where pytest was started."""
        root = self._config.rootpath
        try:
            return Path(os.path.relpath(root, self._config.invocation_params.dir)).as_posix()
        except ValueError:  # on another drive
            return root.as_posix()

    @cached_property
    def _arguments(self) -> list[tuple[str, Path, str, str]]:
        """The arguments of pytest: each as it was typed up to ``::``, its path, and ``::`` and the rest."""
        parts = [str(argument).partition("::") for argument in self._config.args]
        return [(typed, self._path_of(typed), colons, name) for typed, colons, name in parts]

    def _path_of(self, typed: str) -> Path:
        """The path that an argument names, which is that of a package or module with ``--pyargs``."""
        path = self._config.invocation_params.dir / typed
        if self._config.getoption("pyargs", False) and not path.exists():
            with suppress(ImportError, ValueError):  # pytest reports it
                spec = find_spec(typed)
                if spec is not None and spec.origin:
                    path = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        return Path(os.path.normpath(path))  # like pytest, this does not follow links

    @property
    def package(self) -> str:
        """The only package or module that pytest was given, if it is outside of the root folder; else empty.

        Node ids are then relative to it.
        """
        if len(self._arguments) != 1 or not self._config.getoption("pyargs", False):
            return ""
        ((typed, path, _, _),) = self._arguments
        return "" if self._config.rootpath in (path, *path.parents) else typed

    @property
    def paths(self) -> list[str]:
        """The paths and node ids that pytest was given, relative to its root folder."""
        root = self._config.rootpath
        paths = [(path, colons, name) for _, path, colons, name in self._arguments]
        if self.package:
            return [f"::{name}" if colons or path.is_file() else "." for path, colons, name in paths]
        if any(path in (root, *root.parents) for path, _, _ in paths):
            return ["."]
        return sorted(
            {
                (path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()) + colons + name
                for path, colons, name in paths
            }
        )

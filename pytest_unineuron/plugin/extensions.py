"""The extensions of one session: found in conftest files, plugins and entry points, and removed in its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_unineuron.cache.source_code import code_digest, extension_digest, project_files
from pytest_unineuron.controls import CONTROLS
from pytest_unineuron.errors import OptionError
from pytest_unineuron.study.extensions import MEASURED, Registry

if TYPE_CHECKING:
    from pathlib import Path

EXTENSIONS = "unineuron-extensions"
"""The name of this plugin of pytest."""


class Extensions:
    """The extensions of a session, registered as a plugin of pytest, which is told of all other plugins."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._registry = Registry()

    def pytest_plugin_registered(self, plugin: object) -> None:
        """Add what a conftest file or another plugin declares. Raises UsageError."""
        try:
            self._registry.add(plugin)
        except OptionError as error:
            raise pytest.UsageError(str(error)) from None

    def pytest_unconfigure(self) -> None:
        """Remove all extensions, of which another session in this process may have others."""
        self._registry.remove_all()

    def load(self) -> None:
        """Add the extensions of packages and of the hook. Raises OptionError."""
        self._registry.add_installed()
        for found in self._config.hook.pytest_unineuron_extensions(config=self._config):
            for each in found:
                self._registry.add(each)

    @property
    def files(self) -> dict[str, Path]:
        """The files of the extensions that measurements depend on, by kind and name."""
        return {f"{kind} {name}": each.file for (kind, name), each in self._registry.added.items() if kind in MEASURED}

    def code_digest(self, file: Path) -> str:
        """Return the digest of the source of the trials in a file, of the project's plugins, and of extensions."""
        plugins = project_files(self._config.pluginmanager.get_plugins())
        return code_digest(file, self._config.rootpath, plugins, self.files.values())

    def versions(self) -> dict[str, str]:
        """Return digests of the source of these extensions, as the report holds them."""
        return {name: extension_digest(file)[:16] for name, file in self.files.items()}

    @property
    def control_words(self) -> dict[str, str]:
        """What each control keeps, in the words of its author."""
        return {name: control.description for name, control in CONTROLS.items()}

"""The extensions of one session: found in conftest files, plugins and entry points, and removed in its end."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron import controls
from pytest_unineuron.cache.source_code import code_digest, extension_digest, project_files
from pytest_unineuron.corpora import GENERATED
from pytest_unineuron.errors import OptionError
from pytest_unineuron.extend import CONTROL, CORPUS, FAMILY, REPORT, STATISTIC, UNITS, Declaration, declarations_in
from pytest_unineuron.statistics import ATTENTION, EXTREMES, POST, PRE, RESIDUAL, SINKS, STATISTICS, UP
from pytest_unineuron.statistics import UNITS as UNIT_SITES
from pytest_unineuron.universality.kinds import KINDS, UnitKind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_unineuron.extend.table import Table

GROUP = "pytest_unineuron"
"""The group of entry points, each the path of a module, or MODULE:NAME, that declares extensions."""
EXTENSIONS = "unineuron-extensions"
"""The name of this plugin of pytest."""
SITES = (PRE, POST, RESIDUAL, UP, UNIT_SITES)
ENCODED_SITES = (PRE, POST, RESIDUAL, ATTENTION)
MEASURED = (CONTROL, STATISTIC, UNITS)
"""The kinds whose source measurements depend on; texts and models are told by their own digests."""


class Extensions:
    """The extensions of a session, registered as a plugin of pytest, which is told of all other plugins."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._added: dict[tuple[str, str], Declaration] = {}

    def pytest_plugin_registered(self, plugin: object) -> None:
        """Add what a conftest file or another plugin declares. Raises UsageError."""
        try:
            self._add_all(plugin)
        except OptionError as error:
            raise pytest.UsageError(str(error)) from None

    def pytest_unconfigure(self) -> None:
        """Remove all extensions, of which another session in this process may have others."""
        for kind, name in self._added:
            _table(kind).remove(name)
        self._added.clear()

    def load(self) -> None:
        """Add the extensions of packages and of the hook. Raises OptionError."""
        for point in entry_points(group=GROUP):
            try:
                self._add_all(point.load())
            except (ImportError, AttributeError, SyntaxError) as error:
                raise OptionError(
                    f"entry point {GROUP}: {point.name} = {point.value}: {error}; repair or uninstall it"
                ) from error
        for found in self._config.hook.pytest_unineuron_extensions(config=self._config):
            for each in found:
                self._add_all(each)

    @property
    def files(self) -> dict[str, Path]:
        """The files of the extensions that measurements depend on, by kind and name."""
        return {f"{kind} {name}": each.file for (kind, name), each in self._added.items() if kind in MEASURED}

    def code_digest(self, file: Path) -> str:
        """Return the digest of the source of the trials in a file, of the project's plugins, and of extensions."""
        plugins = project_files(self._config.pluginmanager.get_plugins())
        return code_digest(file, self._config.rootpath, plugins, self.files.values())

    def versions(self) -> dict[str, str]:
        """Return digests of the source of these extensions, as the report holds them."""
        return {name: extension_digest(file)[:16] for name, file in self.files.items()}

    @property
    def control_words(self) -> dict[str, str]:
        """What each of these controls keeps, in the words of its author."""
        return {name: each.facts["description"] for (kind, name), each in self._added.items() if kind == CONTROL}

    def _add_all(self, found: object) -> None:
        for each in declarations_in(found):
            # The same file may be imported twice, as a module and as a plugin.
            known = self._added.get((each.kind, each.name))
            if known is None or known.file != each.file:
                _table(each.kind).add(each.name, _row(each), each.file)
                self._added[each.kind, each.name] = each


def _table(kind: str) -> Table[Any]:
    """The table of a kind of extensions. Those that most sessions need not import are imported here."""
    if kind == FAMILY:
        from pytest_unineuron.models.registry import FAMILIES

        return FAMILIES
    if kind == REPORT:
        from pytest_unineuron.reports.write import REPORT_FILES

        return REPORT_FILES
    tables: dict[str, Table[Any]] = {CONTROL: controls.CONTROLS, STATISTIC: STATISTICS, UNITS: KINDS, CORPUS: GENERATED}
    return tables[kind]


def _row(each: Declaration) -> Any:
    """The row of an extension in its table. Raises OptionError for one that says what cannot be."""
    if each.kind == CONTROL:
        # The weights of another seed are no function of the model.
        _check(
            each,
            "replaces",
            each.facts["replaces"],
            [part for part in controls.REQUIRED_INPUTS if part != controls.SEED],
        )
        return controls.Control(each.make, **each.facts)
    if each.kind == STATISTIC:
        for site in each.facts["sites"]:
            _check(each, "sites", site, SITES)
        return each.make, each.facts["sites"]
    if each.kind == UNITS:
        _check(each, "site", each.facts["site"], ENCODED_SITES)
        if each.name in (*SITES, ATTENTION, EXTREMES, SINKS):
            raise OptionError(f"{each.file}: units {each.name!r}: that is the name of a site; choose another name")
        return UnitKind(encoders=each.make, **each.facts)
    if each.kind == FAMILY:
        from pytest_unineuron.models.registry import Family

        return Family(each.name, **each.facts)
    if each.kind == REPORT and PurePath(each.name).name != each.name:
        raise OptionError(f"{each.file}: report {each.name!r} is no name of a file; it is written into --unineuron-out")
    return each.make


def _check(each: Declaration, what: str, found: str, known: Iterable[str]) -> None:
    if found not in known:
        raise OptionError(f"{each.file}: {each.kind} {each.name!r}: {what}={found!r}; choose from {', '.join(known)}")

"""Registration of extensions in the tables of this package, by a session of pytest or by a study. No torch."""

from __future__ import annotations

import re
from functools import partial, wraps
from importlib.metadata import entry_points
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pytest_unineuron import controls
from pytest_unineuron.corpora import GENERATED, bundled_names
from pytest_unineuron.corpora.corpus import Corpus
from pytest_unineuron.errors import OptionError, first_line
from pytest_unineuron.extend import CONTROL, CORPUS, FAMILY, REPORT, STATISTIC, UNITS, Declaration, declarations_in
from pytest_unineuron.extend.table import taken
from pytest_unineuron.statistics import ATTENTION, EXTREMES, POST, PRE, RESIDUAL, SINKS, STATISTICS, UP
from pytest_unineuron.statistics import UNITS as UNIT_SITES
from pytest_unineuron.universality.kinds import KINDS, UnitKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_unineuron.extend.table import Table

GROUP = "pytest_unineuron"
"""The group of entry points, each the path of a module, or MODULE:NAME, that declares extensions."""
SITES = (PRE, POST, RESIDUAL, UP, UNIT_SITES)
ENCODED_SITES = (PRE, POST, RESIDUAL, ATTENTION)
MEASURED = (CONTROL, STATISTIC, UNITS)
"""The kinds whose source measurements depend on; texts and models are told by their own digests."""

RETURNED = {
    controls.MODEL: "another model",
    controls.TEXT: "blocks",
    controls.PAIRING: "blocks",
    controls.LABELS: "the neuron whose label each neuron gets",
    controls.UNITS: "a function of site, layer and units",
}
"""What a control returns, by the part that it replaces."""


class Registry:
    """The extensions that one session or study added to the tables: ``added`` by kind and name."""

    def __init__(self) -> None:
        self.added: dict[tuple[str, str], Declaration] = {}

    def add(self, found: object) -> None:
        """Add what a module declares, or a function, a class or a family. Raises OptionError.

        The same file may be imported twice, such as as a module and as a plugin: its last declaration counts.
        """
        for each in declarations_in(found):
            if each.kind in MEASURED and not each.file.is_file():
                raise OptionError(f"{each.kind} {each.name!r}: {each.file} is no file; results are known by its source")
            table = _table(each.kind)
            if table.files.get(each.name) == each.file:
                table.remove(each.name)
            table.add(each.name, _row(each), each.file)
            self.added[each.kind, each.name] = each

    def add_installed(self) -> None:
        """Add what installed packages declare. Raises OptionError."""
        for point in entry_points(group=GROUP):
            try:
                self.add(point.load())
            except (ImportError, AttributeError, SyntaxError) as error:
                raise OptionError(
                    f"entry point {GROUP}: {point.name} = {point.value}: {error}; repair or uninstall it"
                ) from error

    def remove_all(self) -> None:
        """Remove everything that was added."""
        for kind, name in self.added:
            _table(kind).remove(name)
        self.added.clear()


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
    return _ROWS[each.kind](each)


def _control(each: Declaration) -> controls.Control:
    if set(each.name) & set("~."):
        raise OptionError(f"{each.file}: control {each.name!r}: a name has no ~ and no dot, which set draws apart")
    if each.name in controls.WORDS:
        raise OptionError(f"{each.file}: control {each.name!r}: is a word of --unineuron-controls; choose another name")
    # The weights of another seed are no function of the model.
    parts = [part for part in controls.REQUIRED_INPUTS if part != controls.SEED]
    replaces = each.facts["replaces"]
    _check(each, "replaces", replaces, parts)
    make = _returning(each, partial(_is_replacement, replaces), RETURNED[replaces])
    return controls.Control(make, **each.facts)


def _is_replacement(replaces: str, found: Any) -> bool:
    """Whether what a control returned can be of its kind."""
    if replaces == controls.MODEL:
        return hasattr(found, "named_modules")
    return callable(found) if replaces == controls.UNITS else found is not None


def _statistic(each: Declaration) -> tuple[Any, tuple[str, ...]]:
    _check_list(each, "sites")
    for site in each.facts["sites"]:
        _check(each, "sites", site, SITES)
    return each.make, each.facts["sites"]


def _units(each: Declaration) -> UnitKind:
    _check(each, "site", each.facts["site"], ENCODED_SITES)
    if each.name in (*SITES, ATTENTION, EXTREMES, SINKS):
        raise OptionError(f"{each.file}: units {each.name!r}: that is the name of a site; choose another name")
    return UnitKind(encoders=each.make, **each.facts)


def _corpus(each: Declaration) -> Any:
    if each.name in bundled_names():
        raise OptionError(f"{each.file}: {taken('corpus', each.name)}")
    return _returning(each, lambda found: isinstance(found, Corpus), "a Corpus of Documents")


def _family(each: Declaration) -> Any:
    from pytest_unineuron.models.registry import Family

    _check_list(each, "seeds")
    try:
        re.compile(each.name)
    except re.error as error:
        raise OptionError(
            f"{each.file}: family {each.name!r}: is no regular expression ({error}); give one, such as 'acme/gpt-.*'"
        ) from None
    return Family(each.name, **each.facts)


def _report(each: Declaration) -> Any:
    if PurePath(each.name).name != each.name:
        raise OptionError(f"{each.file}: report {each.name!r} is no name of a file; it is written into --unineuron-out")
    return each.make


_ROWS: dict[str, Callable[[Declaration], Any]] = {
    CONTROL: _control,
    STATISTIC: _statistic,
    UNITS: _units,
    CORPUS: _corpus,
    FAMILY: _family,
    REPORT: _report,
}
"""What makes the row of an extension of each kind."""


def _check(each: Declaration, what: str, found: str, known: Iterable[str]) -> None:
    if found not in known:
        raise OptionError(f"{each.file}: {each.kind} {each.name!r}: {what}={found!r}; choose from {', '.join(known)}")


def _check_list(each: Declaration, what: str) -> None:
    if isinstance(given := each.facts[what], str):
        raise OptionError(
            f"{each.file}: {each.kind} {each.name!r}: {what}={given!r} is one text; give a list: {what}=[{given!r}]"
        )


def _returning(each: Declaration, is_right: Callable[[Any], bool], wanted: str) -> Callable[..., Any]:
    """The function of an extension, which raises OptionError where it returns something else.

    Where it asserts what is not so as well: a control that breaks would look like one on which the claim is missed.
    """

    @wraps(each.make)
    def checked(*given: Any) -> Any:
        try:
            found = each.make(*given)
        except AssertionError as error:
            raise OptionError(f"{each.file}: {each.kind} {each.name!r}: AssertionError: {first_line(error)}") from error
        if not is_right(found):
            raise OptionError(
                f"{each.file}: {each.kind} {each.name!r}: returned a {type(found).__name__}; return {wanted}"
            )
        return found

    return checked

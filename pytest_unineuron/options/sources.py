"""Flags, environment and ini values become one frozen Settings, or an OptionError that says what to type.

Precedence: a trial's marker, then the command line, then the environment, then the ini file, then the default.
"""

from __future__ import annotations

import difflib
import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import OptionError
from pytest_unineuron.options import settings as declared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pytest

    from pytest_unineuron.options.settings import Option, Settings


def register(parser: pytest.Parser) -> None:
    """Add every option to pytest's command line and ini keys. Nothing else happens here."""
    group = parser.getgroup("unineuron", "do universal neurons generalize? (trials marked gt1, gt2, gt3)")
    for option in declared.OPTIONS:
        default = " ".join(option.default) if option.kind is list else option.default
        text = option.help + ("" if "default" in option.help or not default else f" (default: {default})")
        shape: dict[str, Any] = {"action": "store_true"} if option.kind is bool else {"metavar": option.metavar}
        if option.kind is list:
            shape["action"] = "append"
        # Types and choices are checked in read(), which sees all four sources and speaks with one voice.
        group.addoption(option.flag, dest=option.key, default=None, help=text, **shape)
        kinds: dict[type, Any] = {list: "linelist", bool: "bool", int: "string", str: "string"}
        parser.addini(option.key, text, type=kinds[option.kind], default=None)


OTHER_VARIABLES = ("UNINEURON_RANK_TIMEOUT", "UNINEURON_ZOO", "UNINEURON_TEST_FINDINGS")
"""Environment variables that are no options: of ``distributed``, of ``zoo`` and of the tests."""


ALIKE = 0.92
"""The likeness to a name of ours, from 0 to 1, from which another one is a slip; NEURON_CACHE_SIZE has 0.91."""


def check_names(ini: Iterable[str], environment: Iterable[str] = os.environ) -> None:
    """Raise OptionError for an ini key or an environment variable that begins as ours do, or is like one, and is none.

    Capitals, ``-`` and ``_`` do not count in this.
    """
    variables = [*(option.variable for option in declared.OPTIONS), *OTHER_VARIABLES]
    keys = [option.key for option in declared.OPTIONS]
    for kind, names, known in (("environment variable", environment, variables), ("ini key", ini, keys)):
        for name in sorted(set(names) - set(known)):
            if near := _nearest(name, known):
                raise OptionError(f"{name}: there is no such {kind}; did you mean {near}?")


def check_flags(args: Iterable[str]) -> None:
    """Raise OptionError for a flag that begins as ours do and is none, of which pytest would say no more than that."""
    flags = [option.flag for option in declared.OPTIONS]
    for flag in (arg.partition("=")[0] for arg in args):
        if flag.startswith("--unineuron-") and flag not in flags:
            raise OptionError(f"{flag}: there is no such option; did you mean {_nearest(flag, flags)}?")


def _nearest(name: str, known: Iterable[str]) -> str:
    """The known name that a misspelt one stands for; empty for a name that is not ours."""
    plain = {_plain(each): each for each in known}
    ours = name.strip("-").replace("-", "_").lower().startswith("unineuron_")
    near = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.0 if ours else ALIKE)
    return plain[near[0]] if near else ""


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


def read(
    given: Callable[[str], Any], ini: Callable[[str], Any], environment: Mapping[str, str] = os.environ
) -> Settings:
    """The settings of a run from the command line (``given``), the environment and the ini file, in this order.

    Raises OptionError naming the option, what was found and what it takes.
    """
    values: dict[str, Any] = {}
    for option in declared.OPTIONS:
        found, where = _found(option, given, ini, environment)
        if found is not None:
            values[option.setting] = convert(option, found, where)
    settings = declared.Settings(**values)
    if settings.baseline and "fail_on" not in values:
        settings = replace(settings, fail_on="regression")
    _check_together(settings)
    return settings


def _found(
    option: Option, given: Callable[[str], Any], ini: Callable[[str], Any], environment: Mapping[str, str]
) -> tuple[Any, str]:
    """The first value that a source has for an option, and the name of that source; None if none has one."""
    found, where = given(option.key), option.flag
    if found is None and option.variable in environment:
        found, where = environment[option.variable], option.variable
        if option.kind is list:
            found = [part.strip() for part in found.split(option.separator) if part.strip()]
    if found is None:
        found, where = ini(option.key), f"ini key {option.key}"
    return (None if found in ([], ()) else found), where


def _check_together(settings: Settings) -> None:
    """Raise OptionError for settings that contradict each other."""
    if settings.fail_on == "regression" and not settings.baseline:
        raise OptionError("--unineuron-fail-on=regression: needs a baseline; add --unineuron-baseline=FILE")
    if settings.lock and settings.write_lock:
        raise OptionError("--unineuron-lock and --unineuron-write-lock: write a lock first, then hold a run to it")
    if "none" in settings.tolerate and len(settings.tolerate) > 1:
        raise OptionError("--unineuron-tolerate: none cannot be combined with other values")


def checked_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, if each is one that its option can have. Raises OptionError naming the first that is not."""
    for option in declared.OPTIONS:
        if option.setting in values:
            value = values[option.setting]
            same = tuple(value) if isinstance(value, list) else value
            if type(value) is not option.kind or convert(option, value, option.setting) != same:
                raise OptionError(f"{option.flag} cannot be {value!r}")
    return dict(values)


def convert(option: Option, found: Any, where: str) -> Any:
    """The value of an option from what was found in a source. Raises OptionError that names the source."""
    if option.kind is list:
        if not all(str(item).strip() for item in found):
            raise OptionError(f"{where}: is empty; leave it out for {', '.join(option.default) or 'the default'}")
        for item in found if option.choices else ():
            _check_choice(option, str(item), where)
        return tuple(dict.fromkeys(str(item) for item in found))
    if option.kind is bool:
        return _boolean(found, where)
    if option.kind is int:
        return _integer(found, where, minimum=1 if option.default else 0)
    text = str(found)
    if option.choices:
        _check_choice(option, text, where)
    if not text and (option.default or where == option.flag):
        raise OptionError(f"{where}: is empty; leave it out" + (f" for {option.default!r}" if option.default else ""))
    return text


def _check_choice(option: Option, text: str, where: str) -> None:
    if text not in option.choices:
        choices = " or ".join(filter(None, (", ".join(option.choices[:-1]), option.choices[-1])))
        raise OptionError(f"{where}={text}: choose {choices}")


def _boolean(found: Any, where: str) -> bool:
    if isinstance(found, bool):
        return found
    text = str(found).lower()
    if text not in ("1", "true", "yes", "on", "0", "false", "no", "off", ""):
        raise OptionError(f"{where}={found}: say true or false")
    return text in ("1", "true", "yes", "on")


def _integer(found: Any, where: str, minimum: int) -> int:
    try:
        value = float(found)  # so that 1e6 is a number of tokens
        whole = int(value) if math.isfinite(value) and value == int(value) else None
    except (TypeError, ValueError):
        whole = None
    if whole is None or whole < minimum:
        raise OptionError(f"{where}={found}: give a whole number of at least {minimum}")
    return whole

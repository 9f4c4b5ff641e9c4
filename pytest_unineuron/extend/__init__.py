"""Declare controls, statistics, units, corpora, families of seeds and report files, in a conftest or a package.

A declaration changes nothing by itself. The plugin registers those that it finds in conftest files and other plugins of
pytest, in the modules that packages name as entry points of the group ``pytest_unineuron``, and those that the hook
``pytest_unineuron_extensions`` returns. Importing this module imports nothing heavy.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

T = TypeVar("T")

CONTROL, STATISTIC, UNITS, CORPUS, FAMILY, REPORT = "control", "statistic", "units", "corpus", "family", "report"
"""The kinds of extensions."""
ATTRIBUTE = "__unineuron__"
"""The attribute of a function or class that holds its declaration."""


@dataclass(frozen=True)
class Declaration:
    """What an extension is: its kind, its name, the file it is in, and facts that depend on the kind.

    ``make`` is the function or the class; a family has none.
    """

    kind: str
    name: str
    file: Path
    facts: Mapping[str, Any] = field(default_factory=dict)
    make: Any = None


def control(name: str, *, replaces: str, keeps: str, default: bool = False) -> Callable[[T], T]:
    """Return a decorator that declares a function to be a control.

    ``replaces`` is the part of a trial that it replaces, which says what it is called with: ``model`` (the model and a
    seed; returns another model), ``text`` or ``pairing`` (blocks, tokenizer and seed; returns blocks), ``labels`` (the
    layer of each neuron, [neuron], and a seed; returns the neuron whose label each gets) or ``units`` (moments by site,
    sizes by site and a seed; returns a function of site, layer and units). ``keeps`` says in words what it keeps. It
    runs where a trial or ``--unineuron-controls`` names it, with ``default`` in every trial that it applies to.
    """
    return _decorator(CONTROL, name, {"replaces": replaces, "description": keeps, "default": default})


def statistic(name: str, *, sites: Collection[str]) -> Callable[[T], T]:
    """Return a decorator that declares a class, a Statistic with its Accumulator, to be computed at some sites.

    Sites are ``pre``, ``post``, ``residual``, ``up``, and ``units`` for all that ``extend.units`` adds. A trial reads
    it as ``neurons.pre.total(name)``, and each property of the class that is [unit] as ``neurons.pre.PROPERTY``.
    """
    return _decorator(STATISTIC, name, {"sites": _listed(sites)})


def units(name: str, *, site: str, signed: bool = True) -> Callable[[T], T]:
    """Return a decorator that declares a function to return the encoders of a kind of units, such as SAE features.

    The function is called with a view of the weights, as an instrument of ``weights.role`` is: ``view.loaded`` has the
    model, its tokenizer and the folder that it came from. It returns one torch module for each layer of the ``site``,
    from [token, unit of the site] to [token, unit], or None for a layer without such units. Sites are ``pre`` and
    ``post``, with a layer for each layer of neurons, ``attention``, the input of the heads' output projection, and
    ``residual``, of one layer. ``signed=False`` if the sign of a unit is arbitrary, as that of a direction is.

    A trial reads how the units are matched in seeds as ``universality.of(name)``, and their statistics as
    ``neurons.of(name)``. The values of the modules are part of the keys of results. A module may have a tensor
    ``writes``, [unit, width of the stream], which a trial reads as ``weights.written_by(name)``.
    """
    return _decorator(UNITS, name, {"site": site, "signed": signed})


def corpus(name: str) -> Callable[[T], T]:
    """Return a decorator that declares a function without arguments to return a Corpus, which options can name."""
    return _decorator(CORPUS, name, {})


def report(name: str) -> Callable[[T], T]:
    """Return a decorator that declares a function to return the text of a report file from an Evidence."""
    return _decorator(REPORT, name, {})


def family(names: str, *, seeds: Sequence[str] = (), studied: str = "", table: str = "") -> Declaration:
    """Return the declaration of a family of models, to be assigned to a name in a conftest or module.

    ``names`` is a regular expression that matches the whole name of each of its models, in capitals or not. The rest
    is as in ``models.registry.Family``.
    """
    return Declaration(FAMILY, names, _caller(), {"seeds": _listed(seeds), "studied": studied, "table": table})


def declarations_in(module: Any) -> Iterator[Declaration]:
    """Yield the declarations among the values of a module, or that of a function, a class or a declaration itself."""
    for value in vars(module).values() if issubclass(type(module), ModuleType) else [module]:
        kind = type(value)  # isinstance asks a proxy for its class, which may raise
        if issubclass(kind, Declaration):
            yield value
        elif issubclass(kind, FunctionType | type) and ATTRIBUTE in vars(value):
            yield vars(value)[ATTRIBUTE]


def _decorator(kind: str, name: str, facts: dict[str, Any]) -> Callable[[T], T]:
    file = _caller(3)

    def declare(make: T) -> T:
        setattr(make, ATTRIBUTE, Declaration(kind, name, file, facts, make))
        return make

    return declare


def _listed(values: Collection[str]) -> Collection[str]:
    """The values as a tuple; a single text as it is, which the registry refuses."""
    return values if isinstance(values, str) else tuple(values)


def _caller(depth: int = 2) -> Path:
    """The file of the function that called the caller of this one."""
    return Path(sys._getframe(depth).f_code.co_filename)

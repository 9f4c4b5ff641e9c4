"""``pytest-unineuron check``: does an extension obey the laws of its kind?"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_unineuron.cli.conformance import laws
from pytest_unineuron.errors import OptionError, first_line
from pytest_unineuron.extend import declarations_in
from pytest_unineuron.system import process

if TYPE_CHECKING:
    import argparse

    from pytest_unineuron.extend import Declaration


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    text = "a file, a module, or MODULE.NAME, such as evals/conftest.py or acme.noised"
    command.add_argument("extensions", nargs="+", metavar="EXTENSION", help=text)


def check_extensions(typed: argparse.Namespace) -> int:
    """Print every law and whether it holds; the status is 1 if one does not. Raises OptionError for a bad name."""
    found = [each for text in typed.extensions for each in declared(text)]
    process.configure()
    obey = [_check(each) for each in found]
    return int(not all(obey))


def _check(each: Declaration) -> bool:
    """Print the laws of one extension and return whether all hold."""
    print(f"{each.kind} {each.name} ({each.file})")
    held = []
    try:
        for sentence, holds in laws(each):
            held.append(holds)
            print(f"  {'holds ' if holds else 'BROKEN'}  {sentence}")
    except Exception as error:  # the code of others may raise anything
        held.append(False)
        print(f"  BROKEN  it raised {type(error).__name__}: {error}")
    return all(held)


def declared(text: str) -> list[Declaration]:
    """Return the declarations that a file, a module or the name in a module holds. Raises OptionError."""
    try:
        found = list(declarations_in(_load(text)))
    except Exception as error:  # the code of others may raise anything
        raise OptionError(
            f"{text or 'nothing'}: cannot be imported ({first_line(error)}); give a file, a module, or MODULE.NAME"
        ) from error
    if not found:
        raise OptionError(f"{text}: declares nothing; decorate it, such as with pytest_unineuron.extend.control")
    return found


def _load(text: str) -> object:
    """The module in a file, the module of a name, or the value of a name in a module."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    if text.endswith(".py"):
        sys.path.insert(0, str(Path(text).absolute().parent))  # for the files beside it that it imports
        spec = spec_from_file_location(Path(text).stem, text)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[spec.name] = module_from_spec(spec)  # dataclasses look for their module
        spec.loader.exec_module(module)
        return module
    try:
        return import_module(text)
    except ModuleNotFoundError as error:
        module_name, _, name = text.rpartition(".")
        if error.name != text or not module_name:
            raise
        return getattr(import_module(module_name), name)

"""Options of a run, as commands name them that have them without ``unineuron``."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_unineuron.errors import UnineuronError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def in_own_words(text: str, names: Iterable[str]) -> str:
    """Return a text in which the options of these names are those of the command.

    >>> in_own_words("--unineuron-cache=x and --unineuron-cache-size=1", ["cache"])
    '--cache=x and --unineuron-cache-size=1'
    """
    return re.sub(rf"--unineuron-(?=({'|'.join(names)})(?![\w-]))", "--", text)


@contextmanager
def own_options(names: Iterable[str]) -> Iterator[None]:
    """Raise errors of this package with the options of these names as those of the command."""
    try:
        yield
    except UnineuronError as error:
        raise type(error)(in_own_words(str(error), names)) from None

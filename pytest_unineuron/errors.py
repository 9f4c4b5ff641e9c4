"""The errors that this package raises on purpose. Every message says what to type next."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class UnineuronError(Exception):
    """The base class of every error that this package raises on purpose."""


class OptionError(UnineuronError):
    """A flag, an environment variable or an ini value cannot be used."""


class ModelError(UnineuronError):
    """A model cannot be found, cannot be loaded, or is not what it says it is."""


class NeuronsNotFound(ModelError):  # noqa: N818 - it reads as the sentence it is
    """A model runs, but nothing in it is an MLP neuron, or what was found does not behave like one."""


class NotApplicable(UnineuronError):  # noqa: N818 - not a fault: the question has no answer for this model
    """A model has no such thing (no unembedding, no bias): the trial that asked is NA with this reason."""


class CorpusError(UnineuronError):
    """A text corpus cannot be found, read or used."""


class FindingsError(UnineuronError):
    """The paper's published tables are missing, or are not the tables that were expected."""


class RankLost(UnineuronError):  # noqa: N818 - it reads as the sentence it is
    """One of the processes that share the work of a pass is gone, or cannot go on; nothing is wrong with the others."""


class ReportError(UnineuronError):
    """A saved report, baseline, lock or journal cannot be read, or is not what it says it is."""


class TrialError(UnineuronError):
    """A trial is declared or written in a way that cannot be judged."""


class CharacterError(CorpusError):
    """A document holds half of a surrogate pair, which costs the trials on its corpus and no others."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about a name that is none: the most similar known one, if any is similar.

    >>> did_you_mean("nwes", ["prose", "news"])
    '; did you mean news?'
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def first_line(error: Exception) -> str:
    """Return the first line of the message of an error, or its type if it has none; at most 300 characters.

    A first line that ends in a colon is followed by the second. The message of a KeyError, a key, follows its type.
    """
    kind = type(error).__name__
    message = f"{kind}: {error}" if isinstance(error, KeyError) else str(error)
    lines = (message.strip() or kind).splitlines()
    text = " ".join(line.strip() for line in lines[: 2 if lines[0].rstrip().endswith(":") else 1])
    return text[:300].rstrip(".;: ")

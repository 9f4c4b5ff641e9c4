"""What earlier attempts at a run measured before they were cut short."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_unineuron.baseline import journal
from pytest_unineuron.errors import ReportError
from pytest_unineuron.evidence.collector import replayed
from pytest_unineuron.evidence.outcome import ArmResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pytest_unineuron.evidence.collector import Collector


@dataclass(frozen=True)
class Found:
    """A result of an earlier attempt, and what that attempt's lab said of the models and texts it rests on."""

    result: ArmResult
    facts: tuple[Mapping[str, Any], ...]


class Attempts:
    """The results of attempts that were cut short, by what they rest on. All of them count, not only the last."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._found: dict[str, Found] = {}
        self._selected: dict[Path, set[str]] = {}
        self._keys: dict[Path, set[str]] = {}
        for path in paths:
            try:
                attempt = replayed(journal.read(path))
                usable = dict(_usable(attempt))
            except ReportError:
                continue  # nothing can be taken from it; it stays where it is
            except (KeyError, TypeError, ValueError, AttributeError):
                continue  # whole lines of something else
            self._selected[path] = attempt.selected
            self._keys[path] = set(usable)
            self._found |= usable

    def __bool__(self) -> bool:
        return bool(self._found)

    def result(self, key: str) -> Found | None:
        """What was measured under ``key``, if anything."""
        return self._found.get(key) if key else None

    def settled_by(self, selected: set[str], keys: set[str]) -> list[Path]:
        """The attempts of which nothing is open after a run that has results for all ``selected``, under ``keys``.

        A run of other settings or source has results of its own, and leaves those of an attempt open.
        """
        return [p for p, wanted in self._selected.items() if wanted <= selected and self._keys[p] <= keys]


def _usable(attempt: Collector) -> Iterable[tuple[str, Found]]:
    """Results that measured something and came to an end; errors are tried again."""
    for nodeid, result in attempt.results.items():
        key = attempt.keys.get(nodeid, "")
        if key and result.measurements and result.outcome not in (Outcome.ERROR, Outcome.NOT_RUN):
            models, corpora = result.made_from.get("models", {}), result.made_from.get("corpora", {})
            facts = [f for f in attempt.facts if f.get("label", f.get("model")) in {*models, *corpora}]
            yield key, Found(replace(result, resumed=True), tuple(facts))

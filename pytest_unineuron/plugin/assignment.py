"""What an item measures: the trial, and the model, corpus and control arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pytest_unineuron.evidence.planned import PlannedItem
from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.plugin.fixture_table import VERIFIED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_unineuron.evidence.case import Case
    from pytest_unineuron.evidence.trial import Trial

PLANNED = pytest.StashKey[PlannedItem]()
"""The trial and the case of an item, noted when it is collected."""
CASE = "unineuron_case"
"""The fixture whose parameter is an item's assignment."""


@dataclass(frozen=True)
class Assignment:
    """The trial and the case of one item. ``skip`` is the reason if its question does not apply to the model."""

    trial: Trial
    case: Case
    skip: str = ""


def assignment_of(item: pytest.Item) -> Assignment | None:
    """Return the assignment of an item, or None if it is no trial."""
    callspec = getattr(item, "callspec", None)
    found = callspec.params.get(CASE) if callspec else None
    return found if isinstance(found, Assignment) else None


def compares(item: pytest.Item) -> bool:
    """Whether an item compares its model with further seeds, and has some."""
    assignment = assignment_of(item)
    return bool(assignment and assignment.trial.direct and not assignment.skip)


def arm_of(item: pytest.Item | None) -> Arm:
    """Return the arm that an item measures, that of no model if it measures none."""
    assignment = assignment_of(item) if item is not None else None
    if assignment is not None:
        return Arm(assignment.case.model, assignment.case.control, assignment.case.draw)
    callspec = getattr(item, "callspec", None)
    return Arm(str(callspec.params.get(VERIFIED, "")) if callspec else "")


def model_of(item: pytest.Item | None) -> str:
    """Return the label of the model that an item measures; empty if it measures none."""
    return arm_of(item).model


def subjects_of(items: Iterable[pytest.Item]) -> set[tuple[Trial, Case]]:
    """Return the trials and cases of the items that measure a model itself."""
    planned = [item.stash[PLANNED] for item in items if PLANNED in item.stash]
    return {each.subject for each in planned if not each.case.control}


def expect_no_failure(item: pytest.Item) -> None:
    """Hide the marks ``xfail`` of a control, wherever they are: those of the subject say nothing about it."""
    all_markers = item.iter_markers

    def iter_markers(name: str | None = None) -> Iterator[pytest.Mark]:
        return (mark for mark in all_markers(name) if mark.name != "xfail")

    item.iter_markers = iter_markers  # type: ignore[method-assign]

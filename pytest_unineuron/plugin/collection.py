"""From marked test functions to items: one per model, corpus and arm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron import controls
from pytest_unineuron.cache.source_code import code_digest, of_project
from pytest_unineuron.errors import TrialError, UnineuronError
from pytest_unineuron.evidence.case import Case
from pytest_unineuron.evidence.events import PLAN
from pytest_unineuron.evidence.records import Planned
from pytest_unineuron.evidence.trial import CRITERIA, Trial
from pytest_unineuron.models import studied

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_unineuron.plugin.run import Session

CASE = "unineuron_case"
"""The fixture that carries an item's assignment."""
CORPUS = "unineuron_corpus"
"""Asking for this fixture makes one item per corpus."""
SWEEPS, COMPARES, REFERENCE = "unineuron_sweeps", "unineuron_comparisons", "unineuron_reference_universality"
"""Fixtures of a trial that reads activations, of one that compares seeds, and of one that does so on the reference
corpus."""
PUBLISHED = "unineuron_published"
"""The fixture of a trial that starts from the neurons the paper published."""
READS = {
    SWEEPS: controls.ACTIVATIONS,
    COMPARES: controls.SEEDS,
    "unineuron_relabelled": controls.LABELLED,
}
"""Fixtures that tell what a trial reads besides weights."""
PLANNED = pytest.StashKey[Planned]()


@dataclass(frozen=True)
class Assignment:
    """What one item is to measure. ``skip`` is a reason not to: the question does not apply to the model."""

    trial: Trial
    case: Case
    skip: str = ""


class Planner:
    """Knows every trial of this session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._deselected: dict[str, Planned] = {}
        self._functions: dict[str, str] = {}
        self._code = cache(lambda path: code_digest(path, session.config.rootpath, self._plugins))
        self.plan: list[dict[str, Any]] = []
        self.comparing: list[Case] = []

    @cached_property
    def _plugins(self) -> list[Path]:
        """Plugins of the project itself, however they were named."""
        return of_project(self._session.config.pluginmanager.get_plugins())

    def assign(self, metafunc: pytest.Metafunc) -> None:
        """Give a marked test function its items. What is wrong with it is a collection error in one line."""
        try:
            trial = self._declared(metafunc)
            made = self._assignments(trial, metafunc.fixturenames)
        except UnineuronError as error:
            raise pytest.Collector.CollectError(str(error)) from None
        if CASE not in metafunc.fixturenames:
            metafunc.fixturenames.append(CASE)
        metafunc.parametrize(CASE, made, ids=[each.case.id for each in made], indirect=True)

    def each_model(self, metafunc: pytest.Metafunc, fixture: str) -> None:
        """Run a test that is no trial once for every model under test."""
        try:
            models = list(self._session.models)
        except UnineuronError as error:
            raise pytest.Collector.CollectError(str(error)) from None
        metafunc.parametrize(fixture, models, indirect=True)

    def _declared(self, metafunc: pytest.Metafunc) -> Trial:
        function = metafunc.function.__name__
        marks = [(c, m) for c in CRITERIA for m in metafunc.definition.iter_markers(c.lower())]
        criterion, mark = marks[0]
        if any(other != criterion for other, _ in marks):
            raise TrialError(f"{function}: a trial speaks to one criterion, this one is marked for several")
        if mark.args:
            raise TrialError(f"{function}: marker {mark.name} takes keywords only, such as {mark.name}(source='…')")
        trial = Trial.declared(criterion, function, metafunc.function.__doc__, mark.kwargs)
        where = f"{metafunc.definition.nodeid.partition('[')[0]}"
        if self._functions.setdefault(trial.id, where) != where:
            raise TrialError(f"{where}: trial id {trial.id!r} is that of {self._functions[trial.id]}; say trial='…'")
        return trial

    def _assignments(self, trial: Trial, fixtures: list[str]) -> list[Assignment]:
        session = self._session
        arms = self._arms(trial, {what for fixture, what in READS.items() if fixture in fixtures})
        corpora = [""]
        if CORPUS in fixtures:
            corpora = list(session.new_data) if trial.criterion == "GT2" else [session.reference]
        made = []
        for model, source in session.models.items():
            reason = studied.reason(source.spec) if trial.criterion == "GT1" else ""
            if PUBLISHED in fixtures and session.published(model) is None:
                reason = "no published neurons of it: --unineuron-findings names the paper's tables of studied models"
            for corpus in corpora:
                case = Case(model, corpus)
                cases = [case] if reason else case.arms(arms, session.settings.control_draws)
                made += [Assignment(trial, each, reason) for each in cases]
        return made

    def _arms(self, trial: Trial, reads: set[str]) -> tuple[str, ...]:
        """The controls of a trial: its own list or the default ones, from which the option may pick."""
        own = trial.controls if trial.controls is not None else controls.default(reads)
        if unknown := set(own) - set(controls.CONTROLS):
            raise TrialError(
                f"{trial.id}: no control {', '.join(sorted(unknown))}; there are {', '.join(controls.CONTROLS)}"
            )
        chosen = self._session.settings.controls
        if chosen == ("none",):
            return ()
        if "default" in chosen:
            known = controls.defined(reads)
            extra = tuple(name for name in chosen if name in known and name not in own)
            return own + (extra if trial.controls is None else ())
        # A control that a trial did not list is not defined for it, whatever the command line says.
        allowed = own if trial.controls is not None else controls.defined(reads)
        return tuple(name for name in chosen if name in allowed)

    def prepare(self, items: Iterable[pytest.Item]) -> None:
        """Note on each item what it measures, before anybody deselects it."""
        for item in items:
            assignment = assigned(item)
            if assignment is None:
                continue
            callspec: Any = item.callspec  # type: ignore[attr-defined]
            escaped = assignment.case.id.encode("unicode_escape").decode("ascii")  # as pytest does, unless told not to
            variant = callspec.id.removeprefix(assignment.case.id).removeprefix(escaped).removeprefix("-")
            case = replace(assignment.case, variant=variant)
            line, code = (item.location[1] or 0) + 1, self._code(item.path)
            item.stash[PLANNED] = Planned(item.nodeid, assignment.trial, case, line=line, code=code)
            if case.control:
                # The subject may be expected to fail; that says nothing about its controls.
                item.own_markers[:] = [mark for mark in item.own_markers if mark.name != "xfail"]

    def controls_only(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """Take the arms that a claim is about out of a run, and return them."""
        subjects = [item for item in items if PLANNED in item.stash and not item.stash[PLANNED].case.control]
        items[:] = [item for item in items if item not in set(subjects)]
        return subjects

    def deselected(self, items: Iterable[pytest.Item]) -> None:
        """Remember what was collected but is not going to run: NOT_RUN, rather than absent."""
        for item in items:
            if planned := item.stash.get(PLANNED, None):
                self._deselected[planned.nodeid] = replace(planned, selected=False)

    def finished(self, items: Iterable[pytest.Item]) -> None:
        """Collection is over: this is the plan. Without a selected trial there is none."""
        items = [item for item in items if PLANNED in item.stash]
        chosen = [item.stash[PLANNED] for item in items]
        self.comparing = [
            replace(item.stash[PLANNED].case, corpus=corpus)
            for item in items
            for corpus in self.compared_on(item.stash[PLANNED].case, getattr(item, "fixturenames", ()))
        ]
        if chosen:
            self.plan = [planned.as_dict() for planned in (*chosen, *self._deselected.values())]
            if not self._session.worker and self._session.measures:
                self._session.collector.hear({"kind": PLAN, "items": self.plan})

    def compared_on(self, case: Case, fixtures: Iterable[str]) -> set[str]:
        """The corpora on which an item compares seeds."""
        if COMPARES not in fixtures:
            return set()
        return {case.corpus} | ({self._session.reference} if REFERENCE in fixtures else set())


def assigned(item: pytest.Item) -> Assignment | None:
    """What an item is to measure, or None if it is no trial."""
    callspec = getattr(item, "callspec", None)
    found = callspec.params.get(CASE) if callspec else None
    return found if isinstance(found, Assignment) else None

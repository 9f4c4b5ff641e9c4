"""Makes items of marked test functions: one for each model, corpus and control arm."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron import controls
from pytest_unineuron.corpora import number_words, public_texts
from pytest_unineuron.errors import NotApplicable, TrialError, UnineuronError, did_you_mean
from pytest_unineuron.evidence.case import Case
from pytest_unineuron.evidence.criteria import CRITERIA, GT1, GT2
from pytest_unineuron.evidence.planned import PlannedItem
from pytest_unineuron.evidence.trial import Trial
from pytest_unineuron.lab.arm import RUN, Arm, Request
from pytest_unineuron.models.registry import reason_not_new, seeds_compared_with
from pytest_unineuron.plugin.assignment import (
    CASE,
    PLANNED,
    Assignment,
    arm_of,
    assignment_of,
    compares,
    expect_no_failure,
    model_of,
    subjects_of,
)
from pytest_unineuron.plugin.fixture_table import (
    ANY,
    CORPUS,
    ITEM,
    PUBLIC,
    REFERENCE,
    VERIFIED,
    WORDS,
    Reads,
    asks_for_published,
    compares_seeds,
    inputs_of,
    reads_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_unineuron.plugin.extensions import Extensions
    from pytest_unineuron.plugin.run import Run


class Collection:
    """The trials of this session, whatever was selected of them.

    ``items`` are all that were collected, by node id; ``plan`` lists them as JSON data, and ``requests`` are what those
    that run will ask for. The models in ``arm_by_arm`` are measured one arm after the other, the others one trial after
    the other.
    """

    def __init__(self, run: Run, extensions: Extensions) -> None:
        self._run = run
        self.items: dict[str, pytest.Item] = {}
        self._brought: set[str] = set()
        self._selected: set[tuple[Trial, Case]] = set()
        self._functions: dict[str, str] = {}
        self._code = cache(extensions.code_digest)
        self._reason_not_new = cache(reason_not_new)  # it may read weights
        self.plan: list[dict[str, Any]] = []
        self.requests: dict[Request, None] = {}
        self.arm_by_arm: set[str] = set()

    # -- making items ----------------------------------------------------------------------------------------

    def assign(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize a marked test function. Raises CollectError for a trial that is not declared correctly."""
        try:
            trial = self._declared(metafunc)
            assignments = self._assignments(trial, metafunc.fixturenames)
        except UnineuronError as error:
            raise pytest.Collector.CollectError(str(error)) from None
        if CASE not in metafunc.fixturenames:
            metafunc.fixturenames.append(CASE)
        metafunc.parametrize(CASE, assignments, ids=[each.case.id for each in assignments], indirect=True)

    def assign_models(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize a test that is no trial over the models under test. Raises CollectError."""
        try:
            models = list(self._run.models)
        except UnineuronError as error:
            raise pytest.Collector.CollectError(str(error)) from None
        metafunc.parametrize(VERIFIED, models, indirect=True)

    def _declared(self, metafunc: pytest.Metafunc) -> Trial:
        function = metafunc.function.__name__
        marks = [(c.id, m) for c in CRITERIA.values() for m in metafunc.definition.iter_markers(c.marker)]
        criterion, mark = marks[0]
        if any(other != criterion for other, _ in marks):
            raise TrialError(f"{function}: a trial is marked with one criterion, this one with several")
        if mark.args:
            raise TrialError(f"{function}: marker {mark.name} takes keywords only, such as {mark.name}(source='…')")
        trial = Trial.declared(criterion, function, metafunc.function.__doc__, mark.kwargs)
        where = metafunc.definition.nodeid.partition("[")[0]
        if self._functions.setdefault(trial.id, where) != where:
            raise TrialError(f"{where}: trial id {trial.id!r} is that of {self._functions[trial.id]}; say trial='…'")
        return trial

    def _assignments(self, trial: Trial, fixtures: Sequence[str]) -> list[Assignment]:
        run, inputs = self._run, inputs_of(fixtures)
        arms = self._arms(trial, inputs)
        trial = replace(trial, direct=compares_seeds(fixtures))
        if trial.controls is None:
            trial = replace(trial, controls=controls.defaults(inputs))
        corpora = [""]
        if CORPUS in fixtures:
            corpora = list(run.new_data) if trial.criterion == GT2.id else [run.reference]
        made = []
        for model in run.models_asked(trial.criterion):
            for corpus in corpora:
                reason = self._not_applicable(trial, model, corpus, fixtures)
                case = Case(model, corpus)
                cases = [case] if reason else case.arms(arms, run.settings.control_draws)
                made += [Assignment(trial, each, reason) for each in cases if not run.repeats(each)]
        return made

    def _not_applicable(self, trial: Trial, model: str, corpus: str, fixtures: Sequence[str]) -> str:
        """The reason why the question of a trial does not apply to a model and a corpus; empty if it applies."""
        if asks_for_published(fixtures) and self._run.published(model) is None:
            return "no published neurons of it: --unineuron-findings names the paper's tables of studied models"
        if trial.direct:
            try:
                seeds_compared_with(self._run.models[model], self._run.settings.seed)
            except NotApplicable as error:
                return str(error)
        if trial.criterion == GT2.id and corpus == self._run.reference:
            return f"not new data: {corpus} is the reference corpus; name another with --unineuron-corpus"
        return self._reason_not_new(self._run.models[model]) if trial.criterion == GT1.id else ""

    def _arms(self, trial: Trial, inputs: set[str]) -> tuple[str, ...]:
        """The controls of a trial: those it lists, or the default ones, and of these what the option chooses."""
        own = trial.controls if trial.controls is not None else controls.defaults(inputs)
        if unknown := set(own) - set(controls.CONTROLS):
            near = did_you_mean(min(unknown), controls.CONTROLS)
            raise TrialError(
                f"{trial.id}: no control {', '.join(sorted(unknown))}; there are {', '.join(controls.CONTROLS)}{near}"
            )
        chosen = self._run.settings.controls
        if chosen == ("none",):
            return ()
        if "default" in chosen:
            known = controls.applicable(inputs)
            extra = tuple(name for name in chosen if name in known and name not in own)
            return own + (extra if trial.controls is None else ())
        # A control that a trial did not list is not defined for it, whatever the command line says.
        allowed = own if trial.controls is not None else controls.applicable(inputs)
        return tuple(name for name in chosen if name in allowed)

    # -- collected items -------------------------------------------------------------------------------------

    def note(self, items: Iterable[pytest.Item]) -> None:
        """Note items as they are made, of which a node id or ``--lf`` may leave most out."""
        self.items.update((item.nodeid, item) for item in items)

    def prepare(self, items: list[pytest.Item]) -> None:
        """Add the controls of the models that were collected, and put the items of a model together.

        The trial and the case are noted on each item, before any is deselected.
        """
        self.note(items)
        for item in self.items.values():
            self._plan(item)
        self._bring_controls(items)
        self._order_by_model(items)
        self._selected = subjects_of(items)

    def _plan(self, item: pytest.Item) -> None:
        """Note the trial and the case on an item."""
        assignment = assignment_of(item)
        if assignment is None:
            return
        callspec: Any = item.callspec  # type: ignore[attr-defined]
        escaped = assignment.case.id.encode("unicode_escape").decode("ascii")  # pytest's default
        variant = callspec.id.removeprefix(assignment.case.id).removeprefix(escaped).removeprefix("-")
        case = replace(assignment.case, variant=variant)
        line, code = (item.location[1] or 0) + 1, self._code(item.path)
        item.stash[PLANNED] = PlannedItem(item.nodeid, assignment.trial, case, line=line, code=code)
        if case.control:
            expect_no_failure(item)

    def _bring_controls(self, items: list[pytest.Item]) -> None:
        """Put the controls of each model that are not among the items after it, without those of ``--deselect``."""
        present, left_out = {item.nodeid for item in items}, tuple(self._run.config.getoption("deselect") or ())
        missing: dict[tuple[Trial, Case], list[pytest.Item]] = {}
        for nodeid, item in self.items.items():
            planned = item.stash.get(PLANNED, None)
            if planned and planned.case.control and nodeid not in present and not nodeid.startswith(left_out):
                missing.setdefault(planned.subject, []).append(item)
        for item in reversed(items[:]):
            planned = item.stash.get(PLANNED, None)
            if planned and not planned.case.control and (arms := missing.pop(planned.subject, [])):
                self._brought.update(arm.nodeid for arm in arms)
                items[items.index(item) + 1 : items.index(item) + 1] = arms

    def _order_by_model(self, items: list[pytest.Item]) -> None:
        """Put all items of a model before those of the next, so that only one model's results are in memory.

        Those that need no forward pass come first: a large model has its first verdicts soon. Of both kinds, those of
        the model itself come first and then those of each control arm, of which only one is in memory at a time. But
        where arms share the activations of further seeds on a text, one text comes after the other, the reference
        first; and in a run that stops at a failure, the arms of a trial stay together, so that the trials before it
        have outcomes.
        """
        models = {model: number for number, model in enumerate(self._run.models)}
        places = [place for place, item in enumerate(items) if model_of(item) in models]
        ours = [items[place] for place in places]
        arms = list(dict.fromkeys(map(arm_of, ours)))
        options = self._run.config.option
        stops = options.maxfail or getattr(options, "stepwise", False)
        self.arm_by_arm = set() if stops else {*models} - {model_of(item) for item in ours if compares(item)}
        texts = ["", self._run.reference, *self._run.new_data]

        def place_of(item: pytest.Item) -> tuple[Any, ...]:
            arm, corpus = arm_of(item), item.stash[PLANNED].case.corpus if PLANNED in item.stash else ""
            by_arm = (bool(arm.control), arms.index(arm)) if arm.model in self.arm_by_arm else ()
            by_text = () if stops or by_arm else (texts.index(corpus),)
            return models[arm.model], any(self._requests(item)), by_arm or by_text

        ours.sort(key=place_of)
        for place, item in zip(places, ours, strict=True):
            items[place] = item

    def take_subjects(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """Remove the subjects from the items of a run, which leaves the controls. Returns the subjects."""
        subjects = [item for item in items if PLANNED in item.stash and not item.stash[PLANNED].case.control]
        items[:] = [item for item in items if item not in set(subjects)]
        self._selected = set()
        return subjects

    def _controls_alone(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """The controls whose model was deselected, without those that the command names or results choose."""
        config = self._run.config
        lost = self._selected - subjects_of(items)
        if getattr(config.option, "lf", False) or getattr(config.option, "stepwise", False):
            return []
        named = " ".join([config.option.keyword, *(arg.partition("::")[2] for arg in config.args)])
        planned = [(item, item.stash[PLANNED]) for item in items if PLANNED in item.stash]
        return [item for item, its in planned if its.subject in lost and its.case.control not in named]

    def finish(self, items: list[pytest.Item]) -> None:
        """Make the plan and the requests of the items that will run. Without such items there is no plan.

        The controls of each model among the items run along, even if they were deselected, and those of a deselected
        one do not.
        """
        if alone := self._controls_alone(items):
            items[:] = [item for item in items if item not in set(alone)]
            self._run.config.hook.pytest_deselected(items=alone)
        before = len(items)
        self._bring_controls(items)
        if len(items) > before:
            self._order_by_model(items)
        chosen = {item.nodeid: item.stash[PLANNED] for item in items if PLANNED in item.stash}
        planned = [item.stash[PLANNED] for item in self.items.values() if PLANNED in item.stash]
        if chosen:
            left_out = [replace(each, selected=False) for each in planned if each.nodeid not in chosen]
            self.plan = [each.as_dict() for each in (*chosen.values(), *left_out)]
        self.requests = dict.fromkeys(request for item in items for request in self._requests(item))

    @property
    def brought(self) -> int:
        """The number of control arms that run although they were not selected, because their model was."""
        return len(self._brought)

    @property
    def passes(self) -> int:
        """The number of passes over whole texts for all requests, if none of their results is stored."""
        return len({(request.arm, request.corpus) for request in self.requests if not request.role})

    def _requests(self, item: pytest.Item) -> Iterator[Request]:
        """The results that one item will ask for, as far as its fixtures determine."""
        if PLANNED not in item.stash:
            return
        case = item.stash[PLANNED].case
        for reads in reads_of(getattr(item, "fixturenames", ())):
            for corpus in self._texts(reads, case):
                if reads.sites or (reads.compares_seeds and not reads.runs):
                    arm = Arm(case.model, case.control, case.draw).activation_source
                    yield Request(arm, corpus, reads.sites, reads.compares_seeds)
                if reads.runs:
                    arm = Arm(case.model, case.control, case.draw)
                    yield Request(arm, corpus, compares_seeds=reads.compares_seeds, role=RUN)

    def _texts(self, reads: Reads, case: Case) -> list[str]:
        """The labels of the corpora that a fixture of an item reads."""
        run = self._run
        if reads.text == ANY:
            return [case.corpus] if case.corpus else [run.reference, *run.new_data]
        probes = {WORDS: [number_words.NAME], PUBLIC: [public_texts.NAME]}
        return {ITEM: [case.corpus], REFERENCE: [run.reference], **probes}.get(reads.text, [])

"""The protocol of one item: a recorder for its body, a judgement at its end, and an envelope on each of its reports."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron.errors import NotApplicable, UnineuronError, did_you_mean
from pytest_unineuron.evidence.outcome import (
    EXPECTED_TO_FAIL,
    NOT_APPLICABLE,
    ArmResult,
    ControlStatus,
    Outcome,
    judge,
    worst_outcome,
)
from pytest_unineuron.evidence.recorder import Inconclusive, Recorder, bind_recorder
from pytest_unineuron.evidence.text import escape_surrogates
from pytest_unineuron.plugin import fixtures
from pytest_unineuron.plugin.assignment import PLANNED, assignment_of
from pytest_unineuron.plugin.fixture_table import is_broken_fixture
from pytest_unineuron.reports import junit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_unineuron.evidence.case import Case
    from pytest_unineuron.evidence.trial import Trial
    from pytest_unineuron.plugin.collection import Collection
    from pytest_unineuron.plugin.provenance import Provenance
    from pytest_unineuron.plugin.run import Run


@dataclass
class Attempt:
    """One attempt at running an item.

    While ``in_body``, reports are those of subtests; ``failed_subtests`` holds their outcomes and reasons.
    ``judgement`` is the outcome and the reason of the body, decided before pytest learns how it ended;
    ``not_applicable`` says that the question does not apply to the model.
    """

    recorder: Recorder = field(default_factory=Recorder)
    in_body: bool = False
    failed_subtests: list[tuple[Outcome, str]] = field(default_factory=list)
    judgement: tuple[Outcome, str] | None = None
    not_applicable: bool = False


ATTEMPT = pytest.StashKey[Attempt]()
"""The last attempt at an item."""
NOT_THE_TRIAL = ("Timeout ", "async def functions are not natively supported")
"""How reasons begin that pytest and pytest-timeout give to ``pytest.fail`` for a body that did not run to its end."""


class Protocol:
    """Runs the items of this process. ``new_events`` returns what the lab reported since its last call.

    ``sent`` counts the envelopes, so that the controller notices if one is lost.
    """

    def __init__(
        self,
        run: Run,
        provenance: Provenance,
        collection: Collection,
        new_events: Callable[[], list[dict[str, Any]]],
    ) -> None:
        self._run = run
        self._provenance = provenance
        self._collection = collection
        self._new_events = new_events
        self._not_applicable: dict[tuple[Trial, Case], str] = {}
        self.sent = 0

    def begin(self, item: pytest.Item) -> None:
        """Begin an attempt at an item. Skips one whose question does not apply to its model, with its controls."""
        item.stash[ATTEMPT] = Attempt()
        assignment, planned = assignment_of(item), item.stash[PLANNED]
        if not planned.case.control:
            self._not_applicable.pop(planned.subject, None)  # by an earlier attempt
        reason = self._not_applicable.get(planned.subject, assignment.skip if assignment else "")
        if reason:
            self.note_not_applicable(item, reason)
            pytest.skip(reason)
        self._provenance.of(item)  # before anything is loaded: a file may be replaced later

    def note_not_applicable(self, item: pytest.Item, reason: str) -> None:
        """Note that the question of an item does not apply to its model."""
        item.stash[ATTEMPT].not_applicable = True
        if not item.stash[PLANNED].case.control:
            self._not_applicable[item.stash[PLANNED].subject] = reason

    @contextmanager
    def recording(self, item: pytest.Item) -> Iterator[None]:
        """While open, the item's body runs, and the module-level ``measure`` records for it."""
        attempt = item.stash[ATTEMPT]
        attempt.in_body = True
        try:
            with bind_recorder(attempt.recorder):
                yield
        finally:
            attempt.in_body = False

    # -- the end of the body ---------------------------------------------------------------------------------

    def conclude(self, item: pytest.Item, error: BaseException | None) -> None:
        """Judge what the body measured, and fail, skip or pass the item. A control that misses passes.

        ``error`` is what the body raised, if anything. It is raised again if it is neither an assertion, nor by
        ``pytest.fail``, nor an error of this package.
        """
        if isinstance(error, NotApplicable):
            self.note_not_applicable(item, str(error))
        outcome, reason = item.stash[ATTEMPT].judgement = _judgement(item.stash[ATTEMPT], error)
        if outcome is Outcome.ERROR:
            pytest.fail(reason, pytrace=False)
        if item.stash[PLANNED].case.control or outcome is Outcome.PASS:
            return
        if outcome is Outcome.NA:
            pytest.skip(reason)
        if self._run.settings.fail_on == "trial" or item.get_closest_marker("xfail") is not None:
            if error is not None:
                raise error
            pytest.fail(reason, pytrace=False)

    # -- reports ---------------------------------------------------------------------------------------------

    def attach(self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        """Put an envelope of JSON data on a report; pytest and xdist carry it to the collector."""
        attempt = item.stash.setdefault(ATTEMPT, Attempt())  # another plugin may have ended the setup before ours
        if attempt.in_body:
            self._note_subtest(item, report, call)
            return
        result = _result(attempt, report, call, control=bool(item.stash[PLANNED].case.control))
        if result is not None:
            result = self._complete(item, result)
            _set_properties(item, report, result)
        self.sent += 1
        first_of_worker = bool(self._run.worker) and self.sent == 1
        report.unineuron = {  # type: ignore[attr-defined]
            "worker": self._run.worker,
            "when": report.when,
            "result": result.as_dict() if result else None,
            "word": _word(bool(item.stash[PLANNED].case.control), result),
            "events": self._new_events(),
            "plan": self._collection.plan if first_of_worker else [],
        }

    def _note_subtest(self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        """Note a subtest that failed, since pytest may report its test as passed. One that may miss passes."""
        if not report.failed or call.excinfo is None:
            return
        control, reason = bool(item.stash[PLANNED].case.control), _raised(report, call)
        failed = call.excinfo.errisinstance(AssertionError) or _failed_by_hand(call.excinfo.value)
        outcome = Outcome.FAIL if failed else Outcome.ERROR
        if call.excinfo.errisinstance((Inconclusive, NotApplicable)):
            outcome, reason = Outcome.NA, str(call.excinfo.value)
        item.stash[ATTEMPT].failed_subtests.append((outcome, f"in a subtest: {reason}"))
        if outcome is Outcome.NA or (outcome is Outcome.FAIL and (control or self._run.settings.fail_on != "trial")):
            report.outcome, report.longrepr = "passed", None

    def _complete(self, item: pytest.Item, result: ArmResult) -> ArmResult:
        """The result with the digests of the models and corpora it is made from, and without needless spreads.

        A spread serves to compare two runs, in which only subjects are compared, and the subject with a control.
        """
        measurements = result.measurements
        if item.stash[PLANNED].case.control:
            measurements = tuple(m if m.compared and not m.by_unit else replace(m, spread=None) for m in measurements)
        reason, made_from = escape_surrogates(result.reason), self._provenance.of(item)
        return replace(result, reason=reason, measurements=measurements, made_from=made_from)


def _judgement(attempt: Attempt, error: BaseException | None) -> tuple[Outcome, str]:
    """The outcome of a body and the reason. Raises ``error`` if it says nothing about the claim."""
    if error is None:
        ends = list(attempt.failed_subtests)
        if not ends or any(m.claimed for m in attempt.recorder.measurements):
            ends.append(judge(attempt.recorder.measurements))
        outcomes = [outcome for outcome, _ in ends]
        # What broke says nothing about the claim, whatever else was missed: on a control a miss would count.
        outcome = Outcome.ERROR if Outcome.ERROR in outcomes else worst_outcome(outcomes)
        return outcome, "; ".join(reason for own, reason in ends if own is outcome)
    if isinstance(error, Inconclusive | NotApplicable):
        return Outcome.NA, str(error)
    if isinstance(error, AssertionError):
        return Outcome.FAIL, f"asserted: {_first_line(error) or 'without a message'}"
    if _failed_by_hand(error):
        return Outcome.FAIL, _first_line(error) or "failed by hand, without a reason"
    if isinstance(error, UnineuronError):
        return Outcome.ERROR, str(error)
    raise error


def _result(
    attempt: Attempt, report: pytest.TestReport, call: pytest.CallInfo[None], *, control: bool
) -> ArmResult | None:
    """The result after one phase of an item, or None if the phase changes nothing.

    An error in setup or teardown is ERROR, and so is an exception in the body that is neither a failed assertion nor
    an error of this package. A skip is NA with its reason.
    """
    measurements = tuple(attempt.recorder.measurements)
    notes = tuple(attempt.recorder.notes)
    if hasattr(report, "wasxfail"):
        notes = (*notes, EXPECTED_TO_FAIL if report.skipped else "expected to fail, and did not")
    elif attempt.not_applicable:
        notes = (*notes, NOT_APPLICABLE)
    if report.when != "call":
        if report.passed:
            return None
        if report.skipped:  # also by xfail(run=False)
            return ArmResult(Outcome.NA, _words(report), measurements, notes=notes)
        return ArmResult(Outcome.ERROR, f"{report.when}: {_raised(report, call)}", measurements, notes=notes)
    outcome, reason = attempt.judgement or _outcome_without_judgement(report, call, control)
    return ArmResult(outcome, reason, measurements, report.duration, notes)


def _outcome_without_judgement(
    report: pytest.TestReport, call: pytest.CallInfo[None], control: bool
) -> tuple[Outcome, str]:
    """The outcome and the reason of a body that pytest or another plugin ended."""
    if hasattr(report, "wasxfail"):
        return Outcome.NA if control else Outcome.FAIL, _raised(report, call)
    if report.skipped:
        return Outcome.NA, _words(report)
    return Outcome.ERROR, _raised(report, call)


def _failed_by_hand(error: BaseException) -> bool:
    """Whether a body said by ``pytest.fail`` that its claim does not hold."""
    failed = isinstance(error, pytest.fail.Exception) and not isinstance(error, pytest.xfail.Exception)
    return failed and not is_broken_fixture(error) and not _first_line(error).startswith(NOT_THE_TRIAL)


def _set_properties(item: pytest.Item, report: pytest.TestReport, result: ArmResult) -> None:
    """Set the properties for junit.xml, which is written from the last report of an item: on the item as well."""
    others = [each for each in item.user_properties if not each[0].startswith(junit.PROPERTY_PREFIX)]
    item.user_properties[:] = [*others, *junit.junit_properties(item.stash[PLANNED].trial.id, result)]
    report.user_properties = list(item.user_properties)


def _word(control: bool, result: ArmResult | None) -> str:
    """The word that ``-v`` shows for an item that passed; empty for pytest's own."""
    if result is None:
        return ""
    if not control:
        return "PASSED (recorded: claim missed)" if result.outcome is Outcome.FAIL else ""
    words = {
        ControlStatus.HELD: "PASSED (recorded: the claim holds on this control, vacuous)",
        ControlStatus.NEAR: "PASSED (recorded: control comes too near)",
        ControlStatus.MISSED: "PASSED (the claim does not hold on this control)",
        ControlStatus.COMPARED: "PASSED (the model is compared with this control)",
    }
    return words.get(result.control_status, "")


def _raised(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    """The exception of a phase in one line: its type and message, or the message of ``pytest.fail`` alone."""
    raised = call.excinfo
    if raised is None:
        return _words(report)
    if isinstance(raised.value, pytest.FixtureLookupError):
        name, ours = str(raised.value.argname), [known for known in vars(fixtures) if known.startswith("unineuron_")]
        near = did_you_mean(f"unineuron_{name.removeprefix('unineuron_')}", ours)
        return f"there is no fixture {name!r} here{near}"
    line = _first_line(raised.value)
    return line if raised.errisinstance(pytest.fail.Exception) else f"{raised.typename}: {line}"


def _first_line(error: BaseException) -> str:
    """The first line of an exception's message. The message itself may raise."""
    try:
        return (str(error).splitlines() or [""])[0]
    except Exception as worse:
        return f"its message cannot be shown ({type(worse).__name__})"


def _words(report: pytest.TestReport) -> str:
    """The reason of a skip, or the last line of an error."""
    found: Any = report.longrepr
    if isinstance(found, tuple):
        return str(found[2]).removeprefix("Skipped: ")
    lines = [line for line in str(found).splitlines() if line.strip()]
    return (lines[-1] if lines else "no reason was given").removeprefix("E").strip()

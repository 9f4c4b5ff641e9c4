"""The protocol of one item: a recorder for its body, a judgement at its end, and an envelope on its report."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron.errors import NotApplicable, UnineuronError
from pytest_unineuron.evidence.outcome import EXPECTED_TO_FAIL, ArmResult, ControlStatus, Outcome, judge, worst_outcome
from pytest_unineuron.evidence.recorder import Inconclusive, Recorder, bind_recorder
from pytest_unineuron.evidence.text import escape_surrogates
from pytest_unineuron.plugin.collection import PLANNED, assignment_of
from pytest_unineuron.reports import junit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_unineuron.plugin.collection import Collection
    from pytest_unineuron.plugin.provenance import Provenance
    from pytest_unineuron.plugin.run import Run

RECORDER = pytest.StashKey[Recorder]()
ENDED = pytest.StashKey[tuple[Outcome, str] | None]()
"""The outcome of an item's body and its reason, decided before pytest is told."""
RUNNING = pytest.StashKey[bool]()
"""Whether the body of an item is running: a report that is made meanwhile is a subtest's."""
SUBTESTS = pytest.StashKey[list[tuple[Outcome, str]]]()
"""The subtests of an item that failed: their outcomes and reasons."""
MADE_FROM = pytest.StashKey[dict[str, dict[str, str]]]()
"""Digests of the models and corpora that an item rests on."""


class Protocol:
    """Runs the items of this process. ``new_events`` returns what the lab noted since it was last called.

    ``sent`` counts the envelopes, so that the controller can tell whether any was lost.
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
        self.sent = 0

    @property
    def plan(self) -> list[dict[str, Any]]:
        """The items that this process has collected, as plain data."""
        return self._collection.plan

    def begin(self, item: pytest.Item) -> None:
        """Prepare a fresh recorder for an attempt at an item. Skips one whose question does not apply."""
        item.stash[RECORDER] = Recorder()
        item.stash[ENDED] = None
        item.stash[RUNNING], item.stash[SUBTESTS] = False, []
        assignment = assignment_of(item)
        if assignment is not None and assignment.skip:
            pytest.skip(assignment.skip)
        self._made_from(item)  # before anything is loaded: a file that is read later may have been replaced

    def _made_from(self, item: pytest.Item) -> dict[str, dict[str, str]]:
        if MADE_FROM not in item.stash:
            item.stash[MADE_FROM] = self._provenance.of(item)
        return item.stash[MADE_FROM]

    def recorder(self, item: pytest.Item) -> Recorder:
        """The recorder of the attempt that is running."""
        return item.stash[RECORDER]

    @contextmanager
    def recording(self, item: pytest.Item) -> Iterator[None]:
        """While open, the item's body runs, and the module-level ``measure`` records for it."""
        item.stash[RUNNING] = True
        try:
            with bind_recorder(item.stash[RECORDER]):
                yield
        finally:
            item.stash[RUNNING] = False

    def conclude(self, item: pytest.Item, error: BaseException | None) -> None:
        """Judge what the body measured, and tell pytest: on the subject a miss fails, on a control it passes.

        ``error`` is what the body raised, if anything; what pytest itself raises to skip or fail goes on as it is.
        """
        recorder, control = item.stash[RECORDER], bool(item.stash[PLANNED].case.control)
        if error is None:
            ends = [*item.stash[SUBTESTS], judge(recorder.measurements)]
            outcome = worst_outcome(outcome for outcome, _ in ends)
            reason = "; ".join(why for own, why in ends if own is outcome)
        elif isinstance(error, Inconclusive | NotApplicable):
            outcome, reason = Outcome.NA, str(error)
        elif isinstance(error, AssertionError):
            outcome, reason = Outcome.FAIL, f"asserted: {_first_line(error) or 'without a message'}"
        elif isinstance(error, UnineuronError):
            outcome, reason = Outcome.ERROR, str(error)
        else:
            raise error
        item.stash[ENDED] = outcome, reason
        if outcome is Outcome.ERROR:
            pytest.fail(reason, pytrace=False)
        if control or outcome is Outcome.PASS:
            return
        if outcome is Outcome.NA:
            pytest.skip(reason)
        expected = item.get_closest_marker("xfail") is not None
        if self._run.settings.fail_on == "trial" or expected:
            if error is not None:
                raise error
            pytest.fail(reason, pytrace=False)

    def attach(self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        """Put an envelope of plain data on a report; pytest and xdist carry it to the collector."""
        if item.stash.get(RUNNING, False):
            self._subtest(item, report, call)
            return
        result = self._result(item, report, call)
        if result is not None:
            result = self._complete(item, result)
        self.sent += 1
        first_of_worker = bool(self._run.worker) and self.sent == 1
        envelope: dict[str, Any] = {
            "worker": self._run.worker,
            "when": report.when,
            "result": result.as_dict() if result else None,
            "word": _word(bool(item.stash[PLANNED].case.control), result),
            "events": self._new_events(),
            "plan": self.plan if first_of_worker else [],
        }
        report.unineuron = envelope  # type: ignore[attr-defined]
        if result is not None:
            # On the item, whose later reports repeat them: junit.xml is written from the last of an attempt.
            others = [each for each in item.user_properties if not each[0].startswith(junit.PROPERTY_PREFIX)]
            item.user_properties[:] = [*others, *junit.junit_properties(item.stash[PLANNED].trial.id, result)]
            report.user_properties = list(item.user_properties)

    def _subtest(self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        """Remember a subtest that failed: pytest may report its test as passed. Where a miss is none, it passes."""
        if not report.failed or call.excinfo is None:
            return
        asserted = call.excinfo.errisinstance((AssertionError, pytest.fail.Exception))
        words = f"in a subtest: {_raised(report, call)}"
        item.stash[SUBTESTS].append((Outcome.FAIL if asserted else Outcome.ERROR, words))
        if asserted and (item.stash[PLANNED].case.control or self._run.settings.fail_on != "trial"):
            report.outcome, report.longrepr = "passed", None

    def _complete(self, item: pytest.Item, result: ArmResult) -> ArmResult:
        """The result with the digests of what it rests on. Spreads pair subjects of two runs, never controls."""
        measurements = result.measurements
        if item.stash[PLANNED].case.control:
            measurements = tuple(replace(m, spread=None) for m in measurements)
        made_from = self._made_from(item)
        return replace(result, reason=escape_surrogates(result.reason), measurements=measurements, made_from=made_from)

    def _result(self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> ArmResult | None:
        """What a phase says about the arm, or None if it says nothing new.

        Any error in setup or teardown is ERROR, and so is an exception in the body that is neither a failed
        assertion nor one of ours; a skip is NA with its reason.
        """
        recorder = item.stash.get(RECORDER, None) or Recorder()
        measurements = tuple(recorder.measurements)
        notes = []
        if hasattr(report, "wasxfail"):
            notes.append(EXPECTED_TO_FAIL if report.skipped else "expected to fail, and did not")
        if report.when != "call":
            if report.passed:
                return None
            if report.skipped:  # also by xfail(run=False)
                return ArmResult(Outcome.NA, _words(report), notes=tuple(notes))
            reason = f"{report.when}: {_raised(report, call)}"
            return ArmResult(Outcome.ERROR, reason, measurements, notes=tuple(notes))
        ended = item.stash.get(ENDED, None)
        if ended is not None:
            outcome, reason = ended
        elif report.skipped and not notes:
            outcome, reason = Outcome.NA, _words(report)
        else:
            reason = _raised(report, call)
            failed = call.excinfo is not None and call.excinfo.errisinstance(pytest.fail.Exception)
            failed = failed and not reason.startswith("Timeout ")  # how pytest-timeout cuts a test off
            outcome = Outcome.FAIL if failed or notes else Outcome.ERROR
        return ArmResult(outcome, reason, measurements, report.duration, tuple(notes))


def _word(control: bool, result: ArmResult | None) -> str:
    """What a passed item means, for ``-v``."""
    if result is None:
        return ""
    if not control:
        return "PASSED (recorded: claim missed)" if result.outcome is Outcome.FAIL else ""
    words = {
        ControlStatus.HELD: "PASSED (recorded: CONTROL HOLDS, vacuous)",
        ControlStatus.NEAR: "PASSED (recorded: control comes too near)",
        ControlStatus.MISSED: "PASSED (control misses)",
    }
    return words.get(result.control_status, "")


def _raised(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    """What was raised, in one line; a sentence of ours or of ``pytest.fail`` stands without its type."""
    raised = call.excinfo
    if raised is None:
        return _words(report)
    line = _first_line(raised.value)
    return line if raised.errisinstance(pytest.fail.Exception) else f"{raised.typename}: {line}"


def _first_line(error: BaseException) -> str:
    """What an exception says, in one line; an exception can fail at saying anything."""
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

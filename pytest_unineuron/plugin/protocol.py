"""What happens around the body of one item: it records, it ends, it is judged, and its report carries the rest."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron.errors import NotApplicable, UnineuronError
from pytest_unineuron.evidence.collector import ENVELOPE
from pytest_unineuron.evidence.outcome import EXPECTED, ArmResult, Control, Outcome, judge, together
from pytest_unineuron.evidence.recorder import Inconclusive, Recorder, recording
from pytest_unineuron.evidence.text import clean
from pytest_unineuron.plugin.collection import PLANNED, assigned
from pytest_unineuron.reports import junit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_unineuron.plugin.resume import Found
    from pytest_unineuron.plugin.run import Session

RECORDER = pytest.StashKey[Recorder]()
ENDED = pytest.StashKey[tuple[Outcome, str] | None]()
"""How the body of an item came out, decided before pytest is told."""
RUNNING = pytest.StashKey[bool]()
"""Whether the body of an item is running: what is reported meanwhile is a subtest."""
SUBTESTS = pytest.StashKey[list[tuple[Outcome, str]]]()
"""The subtests of an item that failed: how, and why."""
RESUMED: pytest.StashKey[Found | None] = pytest.StashKey()
"""What an earlier attempt measured for an item, if that is taken over."""
MADE_FROM = pytest.StashKey[dict[str, dict[str, str]]]()
"""The models and corpora an item rests on."""


class Runner:
    """Runs the items of this process."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._told = 0
        self.sent = 0

    def begin(self, item: pytest.Item) -> None:
        """A fresh recorder for every attempt at an item. Skips one whose question does not apply."""
        item.stash[RECORDER] = Recorder()
        item.stash[ENDED] = item.stash[RESUMED] = None
        item.stash[RUNNING], item.stash[SUBTESTS] = False, []
        assignment = assigned(item)
        if assignment is not None and assignment.skip:
            pytest.skip(assignment.skip)
        self._made_from(item)  # before anything is loaded: what is read later may have been swapped meanwhile
        if self._session.attempts and (found := self._session.attempts.result(self._key(item))):
            item.stash[RESUMED] = found
            item.stash[RECORDER].measurements += found.result.measurements
            item.fixturenames = []  # type: ignore[attr-defined]  # nothing is measured, so nothing is made

    def takes_over(self, item: pytest.Item) -> bool:
        """Whether an earlier attempt measured this item, so that its body need not run."""
        return item.stash[RESUMED] is not None

    def _made_from(self, item: pytest.Item) -> dict[str, dict[str, str]]:
        if MADE_FROM not in item.stash:
            item.stash[MADE_FROM] = self._session.provenance.of(item)
        return item.stash[MADE_FROM]

    def _key(self, item: pytest.Item) -> str:
        return self._session.provenance.key(item, self._made_from(item))

    def recorder(self, item: pytest.Item) -> Recorder:
        """The recorder of the attempt that is running."""
        return item.stash[RECORDER]

    @contextmanager
    def recording(self, item: pytest.Item) -> Iterator[None]:
        """While open, the item's body runs, and the module-level ``measure`` records for it."""
        item.stash[RUNNING] = True
        try:
            with recording(item.stash[RECORDER]):
                yield
        finally:
            item.stash[RUNNING] = False

    def conclude(self, item: pytest.Item, error: BaseException | None) -> None:
        """Judge what the body measured, and tell pytest: on the subject a miss fails, on a control it passes.

        ``error`` is what the body raised, if anything; what pytest itself raises to skip or fail goes on as it is.
        """
        recorder, control = item.stash[RECORDER], bool(item.stash[PLANNED].case.control)
        if (found := item.stash[RESUMED]) is not None and error is None:
            outcome, reason = found.result.outcome, found.result.reason
        elif error is None:
            ends = [*item.stash[SUBTESTS], judge(recorder.measurements)]
            outcome = together(outcome for outcome, _ in ends)
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
        if self._session.settings.fail_on == "trial" or expected:
            if error is not None:
                raise error
            pytest.fail(reason, pytrace=False)

    def attach(self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        """Put an envelope of plain data on a report; pytest and xdist carry it to the collector."""
        session, case = self._session, item.stash[PLANNED].case
        if item.stash.get(RUNNING, False):
            self._subtest(item, report, call)
            return
        result = self._result(item, report, call)
        lab = session.lab if session.has_lab else None
        events = lab.events[self._told :] if lab else []
        self._told += len(events)
        if result is not None:
            result = self._complete(item, result)
        if result is not None and result.resumed and (found := item.stash[RESUMED]) is not None:
            events = [*map(dict, found.facts), *events]
        self.sent += 1
        first_of_worker = bool(session.worker) and self.sent == 1
        envelope: dict[str, Any] = {
            "version": ENVELOPE,
            "worker": session.worker,
            "when": report.when,
            "result": result.as_dict() if result else None,
            "key": self._key(item) if result else "",
            "word": _word(bool(case.control), result),
            "events": events,
            "plan": session.planner.plan if first_of_worker else [],
        }
        report.unineuron = envelope  # type: ignore[attr-defined]
        if result is not None:
            # On the item, whose later reports repeat them: junit.xml is written from the last of an attempt.
            others = [each for each in item.user_properties if not each[0].startswith(junit.PREFIX)]
            item.user_properties[:] = [*others, *junit.properties(item.stash[PLANNED].trial.id, result)]
            report.user_properties = list(item.user_properties)

    def _subtest(self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        """Remember a subtest that failed: pytest may report its test as passed. Where a miss is none, it passes."""
        if not report.failed or call.excinfo is None:
            return
        asserted = call.excinfo.errisinstance((AssertionError, pytest.fail.Exception))
        words = f"in a subtest: {_raised(report, call)}"
        item.stash[SUBTESTS].append((Outcome.FAIL if asserted else Outcome.ERROR, words))
        if asserted and (item.stash[PLANNED].case.control or self._session.settings.fail_on != "trial"):
            report.outcome, report.longrepr = "passed", None

    def _complete(self, item: pytest.Item, result: ArmResult) -> ArmResult:
        """The result with what it rests on. What pairs a control with a later run of it is of no use to anybody."""
        found = item.stash.get(RESUMED, None)
        measurements = result.measurements
        if item.stash[PLANNED].case.control:
            measurements = tuple(replace(m, spread=None) for m in measurements)
        duration = found.result.duration if found else result.duration
        return replace(
            result,
            reason=clean(result.reason),
            measurements=measurements,
            duration=duration,
            made_from=self._made_from(item),
            resumed=found is not None,
        )

    def _result(self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> ArmResult | None:
        """What a phase says about the arm, or None if it says nothing new.

        Any error in setup or teardown is ERROR, and so is an exception in the body that is neither a failed
        assertion nor one of ours; a skip is NA with its reason.
        """
        recorder = item.stash.get(RECORDER, None) or Recorder()
        measurements = tuple(recorder.measurements)
        notes = []
        if hasattr(report, "wasxfail"):
            notes.append(EXPECTED if report.skipped else "expected to fail, and did not")
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
        Control.HELD: "PASSED (recorded: CONTROL HOLDS, vacuous)",
        Control.NEAR: "PASSED (recorded: control comes too near)",
        Control.MISSED: "PASSED (control misses)",
    }
    return words.get(result.as_control, "")


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

"""The end of a run: results are collected, judged, written, shown, and turned into an exit status."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron.baseline.gate import Gate
from pytest_unineuron.baseline.lock import Lock
from pytest_unineuron.evidence.events import CRASHED, PHASE_REPORT, PLAN, WORKER_ENDED
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.records import Evidence
from pytest_unineuron.evidence.strict_json import add_digest, to_json
from pytest_unineuron.options import settings as declared
from pytest_unineuron.plugin.figures import Figures
from pytest_unineuron.reports import github, terminal, write
from pytest_unineuron.reports.step import GitHubStep

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_unineuron.plugin.session import Session
    from pytest_unineuron.reports.lines import Line


class Finisher:
    """Hooks of the xdist controller, or of the only process, registered once a session exists.

    A worker uses the same class, and only says how many reports it sent.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._run = session.run
        self._collector = session.collector
        self._evidence: Evidence | None = None
        self._gate = Gate(session.run.settings.fail_on)
        self._running_workers: set[str] = set()
        self._collected: dict[str, None] = {}
        self._step = GitHubStep.of()
        self._figures = Figures() if session.run.config.getoption("htmlpath", None) else None  # that of pytest-html
        self._summary_problem = ""

    # -- events ----------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)  # before a plugin that shows the report, which may fail
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in the report on one phase of one item, from this process or from a worker."""
        if self._run.worker:
            return
        envelope = getattr(report, "unineuron", None)
        if envelope is not None:
            self._collector.on_event({"kind": PHASE_REPORT, "nodeid": report.nodeid, "envelope": envelope})
            if self._figures and report.when == "call" and not self._collector.planned[report.nodeid].case.control:
                self._figures.attach(report)
        elif report.when not in ("setup", "call", "teardown"):
            # The report that xdist makes for an item whose worker died has no envelope.
            self._collector.on_event({"kind": CRASHED, "nodeid": report.nodeid, "reason": "its worker process died"})

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        """Note that an xdist worker has started."""
        self._running_workers.add(node.gateway.id)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Note the node ids of trials, which are all that is known of them if every worker dies at once."""
        del node
        labels = [f"[{label}" for label in self._run.models]
        self._collected |= dict.fromkeys(nodeid for nodeid in ids if any(label in nodeid for label in labels))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        """Take in that an xdist worker has ended, and what it sent at its end."""
        self._running_workers.discard(node.gateway.id)
        output = getattr(node, "workeroutput", {}).get("unineuron") if error is None else None
        if output is not None:
            if output["plan"]:
                self._collector.on_event({"kind": PLAN, "items": output["plan"]})
            self._worker_ended(node.gateway.id, sent=output["sent"])
        elif error is not None:
            self._worker_ended(node.gateway.id, sent=None)

    def _worker_ended(self, worker: str, sent: int | None) -> None:
        self._collector.on_event({"kind": WORKER_ENDED, "worker": worker, "sent": sent})

    # -- the end ---------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge the evidence, write the reports, and decide the exit status."""
        if self._run.worker:
            output: dict[str, Any] = self._run.config.workeroutput  # type: ignore[attr-defined]
            output["unineuron"] = {"sent": self._session.protocol.sent, "plan": self._session.collection.plan}
            return
        if session.config.option.collectonly or not self._concerned:
            return
        self._note_losses(int(exitstatus))
        self._collector.findings = self._run.findings
        self._evidence = self._collector.evidence()
        if (lock := self._run.lock) is not None:
            self._evidence = replace(self._evidence, violations=lock.violations(self._evidence))
        self._gate = Gate.of(self._evidence, self._run.settings, self._run.accepted)
        unwritten = self._write(self._evidence, int(exitstatus))
        if self._collector.journal is not None:
            self._collector.journal.close(finished=self._collector.finished and not unwritten)
        self._gate = replace(self._gate, unwritten=tuple(unwritten))
        if self._figures:
            self._figures.fill(self._evidence)
        session.exitstatus = self._gate.status(int(exitstatus), self._evidence)[0]
        if self._step is not None and not self._run.settings.write_lock:
            self._summary_problem = self._step.append_summary(partial(github.job_summary, self._evidence, self._gate))

    @property
    def _concerned(self) -> bool:
        """Whether this run has trials, is compared with a baseline or a lock, or lost items that may be trials.

        When workers die while they collect, not even the names of their trials are known.
        """
        lost = self._collector.incomplete
        configured = self._run.settings != declared.Settings()
        may_be_trials = configured or any(f"[{label}" in what for what in lost for label in self._run.models)
        return self._collector.active or self._run.gated or bool(lost and may_be_trials)

    def _note_losses(self, status: int) -> None:
        """Note the workers that never said how much they sent, and trials of which nothing else is known."""
        if status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
            for worker in sorted(self._running_workers):
                self._worker_ended(worker, sent=None)
        lost = self._collector.incomplete
        if lost and not self._collector.active:
            for nodeid in self._collected:
                if not any(what.startswith(f"{nodeid}: ") for what in lost):
                    self._collector.on_event({"kind": CRASHED, "nodeid": nodeid, "reason": "lost: all workers ended"})

    def _write(self, evidence: Evidence, status: int) -> list[str]:
        """Write the reports or the lock. Returns a sentence for each file that could not be written.

        A run that measured nothing writes nothing.
        """
        if not (self._collector.active or self._collector.incomplete):
            return []
        if not self._run.settings.write_lock:
            if not write.measured(evidence):
                return []
            before = self._run.accepted if isinstance(self._run.accepted, Evidence) else None
            return write.write_reports(evidence, self._run.out, self._gate.comparison, before)
        unfit = "results were lost" if not self._collector.finished else Lock.reason_unfit(evidence)
        if unfit or status != pytest.ExitCode.OK:
            return [f"the lock was not written: {unfit or f'the run ended with status {status}'}"]
        try:
            write.write_text(self._run.write_lock, to_json(add_digest(Lock.of(evidence).as_dict())), exclusive=True)
        except OSError as error:
            return [f"the lock was not written: {error}"]
        return []

    # -- the terminal ----------------------------------------------------------------------------------------

    @contextmanager
    def one_report_per_error(self, stats: dict[str, list[Any]]) -> Iterator[None]:
        """While open, arms of a case with the same error are one report in pytest's ``stats``, with their number."""
        reports: dict[str, list[Any]] = {kind: stats[kind] for kind in ("failed", "error") if kind in stats}
        stats.update({kind: list(self._without_repeats(found)) for kind, found in reports.items()})
        try:
            yield
        finally:
            stats.update(reports)

    def _without_repeats(self, reports: list[Any]) -> Iterator[Any]:
        same: dict[Any, list[Any]] = {}
        for report in reports:
            item = self._collector.planned.get(report.nodeid)
            same.setdefault((item.subject, report.when, _error(report)) if item else id(report), []).append(report)
        for first, *others in same.values():
            if others:
                arms = "control arms" if others[1:] else "control arm"
                first.sections.append(("control arms", f"and {len(others)} {arms}, the same"))
            yield first

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
        """Print the checklist, the trials by outcome, the comparison with a baseline, and where the files are."""
        if self._evidence is None:
            return
        _count_vacuous_apart(terminalreporter.stats, self._evidence)
        terminalreporter.section("universal neurons: do they generalize?")
        width = config.get_terminal_writer().fullwidth
        for text, colour in self._lines(self._evidence, width, verbose=config.get_verbosity() > 0):
            terminalreporter.write_line(terminal.escape_commands(text), **({colour: True} if colour else {}))
        status, reason = self._gate.status(int(exitstatus), self._evidence)
        if reason:
            terminalreporter.write_line(f"Exit status {status}: {reason}.", red=True)

    def _lines(self, evidence: Evidence, width: int, *, verbose: bool) -> Iterator[Line]:
        run, journal = self._run, self._collector.journal
        lock, written = run.settings.write_lock, not self._gate.unwritten
        if lock and written:
            yield f"Locked: {run.write_lock}. To test the claim, add --unineuron-lock={lock}", ""
        elif not lock:
            whole = terminal.report_lines(evidence, width, verbose=verbose)
            yield from whole if self._collector.active else terminal.note_lines(evidence, width)
        yield from terminal.gate_lines(self._gate)
        if not lock:
            yield from terminal.reproduce_lines(evidence, self._gate)
        warnings = (*run.overruled, self._summary_problem, journal.problem if journal is not None else "")
        yield from ((text, "yellow") for text in warnings if text)
        if written and not lock and (self._collector.active or evidence.incomplete):
            yield from self._lines_on_files(evidence)

    def _lines_on_files(self, evidence: Evidence) -> Iterator[Line]:
        """Where the reports are, and that of the whole suite if this run was of a part of it or lacks trials."""
        folder = self._run.out
        if not write.measured(evidence):
            yield "Nothing was measured, so no report was written.", "yellow"
            return
        if part := evidence.part:
            yield f"This run is a part of the suite: {part}.", "yellow"
        yield f"Written: {folder / write.SUMMARY}, and the full report in the same folder.", ""
        if whole := write.place_of_whole(evidence, folder):
            yield whole, ""

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Print the annotations of a GitHub step last, so that each is on a line of its own."""
        if self._step is not None and self._evidence is not None:
            folder = self._step.folder(config.rootpath)
            self._step.print_commands(github.make_annotations(self._evidence, self._gate, folder))


def _count_vacuous_apart(stats: dict[str, list[Any]], evidence: Evidence) -> None:
    """Move vacuous trials out of those that pytest's last line counts as passed, into a kind of their own."""
    vacuous = {each.nodeid for each in evidence.cases if each.case.outcome is Outcome.VACUOUS}
    passed = stats.get("passed", [])
    if moved := [report for report in passed if report.nodeid in vacuous]:
        stats["vacuous"] = moved
        stats["passed"] = [report for report in passed if report.nodeid not in vacuous]


def _error(report: pytest.TestReport) -> str:
    """The place and the message of an error, or all of its text where it has no traceback."""
    return str(getattr(report.longrepr, "reprcrash", None) or report.longrepr)

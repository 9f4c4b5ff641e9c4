"""The end of a run: results are gathered, reconciled, written, shown, and turned into an exit status."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron.checklist.verdict import Verdict
from pytest_unineuron.reports import markdown, terminal, write
from pytest_unineuron.reports.summary import report as full_report
from pytest_unineuron.reports.summary import summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_unineuron.reports.evidence import Evidence
    from pytest_unineuron.session import Session


class Exit(IntEnum):
    """Exit statuses of ours. pytest owns 0 to 6."""

    CRITERION = 20
    INCOMPLETE = 22


class Finisher:
    """Listens on the xdist controller, or in the only process. Registered once a session exists."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._collector = session.collector
        self._evidence: Evidence | None = None
        self._ready: set[str] = set()
        self._unwritten: list[str] = []

    # -- what comes in ---------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one item, from this process or from a worker."""
        if self._session.worker:
            return
        envelope = getattr(report, "unineuron", None)
        if envelope is not None:
            self._collector.take(report.nodeid, envelope)
        elif report.when not in ("setup", "call", "teardown"):
            # How xdist reports an item whose worker died: without anything of ours.
            self._collector.crashed(report.nodeid, "its worker process died")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        """An xdist worker has started."""
        self._ready.add(node.gateway.id)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        """An xdist worker is gone, in good order or not."""
        self._ready.discard(node.gateway.id)
        said = getattr(node, "workeroutput", {}).get("unineuron") if error is None else None
        if said is not None:
            self._collector.plan(said["plan"])
            self._collector.worker_ended(node.gateway.id, said["sent"])
        elif error is not None:
            self._collector.worker_ended(node.gateway.id, None)

    # -- what goes out ---------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge, write, and decide the exit status. A worker only says how much it sent."""
        if self._session.worker:
            planner, runner = self._session.planner, self._session.runner
            output: dict[str, Any] = self._session.config.workeroutput  # type: ignore[attr-defined]
            output["unineuron"] = {"sent": runner.sent, "plan": planner.plan}
            return
        if not self._collector.active or session.config.option.collectonly:
            return
        if int(exitstatus) in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
            for worker in sorted(self._ready):
                self._collector.worker_ended(worker, None)
        self._collector.findings = self._session.findings
        self._evidence = self._collector.evidence()
        self._write(self._evidence)
        session.exitstatus = self._status(int(exitstatus), self._evidence)

    def _write(self, evidence: Evidence) -> None:
        """Every file on its own, so that one that fails does not take the others along."""
        forms: dict[str, Callable[[], str]] = {
            write.SUMMARY: lambda: write.as_json(summary(evidence)),
            write.REPORT: lambda: write.as_json(full_report(evidence)),
            write.MARKDOWN: lambda: markdown.render(evidence),
        }
        for name, form in forms.items():
            try:
                write.write_text(self._session.out / name, form())
            except Exception as error:  # a report that fails must not hide the others
                self._unwritten.append(f"{name} was not written: {type(error).__name__}: {error}")

    def _status(self, status: int, evidence: Evidence) -> int:
        """Pytest's own status, unless ours says more: 22 over success and failure, 20 over success only."""
        settled = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if (evidence.incomplete or self._unwritten) and status in (*settled, pytest.ExitCode.TESTS_FAILED):
            return Exit.INCOMPLETE
        failed = any(line.verdict is Verdict.FAIL for line in evidence.criteria)
        if self._session.settings.fail_on == "criterion" and failed and status in settled:
            return Exit.CRITERION
        return status

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
        """The table, the checklist, and where the files are."""
        if self._evidence is None:
            return
        terminalreporter.section("universal neurons: do they generalize?")
        width = config.get_terminal_writer().fullwidth if terminalreporter.isatty else None
        for text, colour in terminal.lines(self._evidence, width):
            terminalreporter.write_line(text, **({colour: True} if colour else {}))
        for problem in self._unwritten:
            terminalreporter.write_line(problem, red=True)
        if not self._unwritten:
            terminalreporter.write_line(f"Written: {self._session.out / write.SUMMARY}, and the full report beside it.")
        status = self._status(int(exitstatus), self._evidence)
        if status != int(exitstatus):
            why = {Exit.CRITERION: "a criterion FAILs", Exit.INCOMPLETE: "results were lost"}[Exit(status)]
            terminalreporter.write_line(f"Exit status {status}: {why}.", red=True)

"""The end of a run: results are gathered, reconciled, written, shown, and turned into an exit status."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_unineuron.baseline.gate import Gate
from pytest_unineuron.baseline.lock import Lock
from pytest_unineuron.evidence.events import CRASHED, PHASE_REPORT, PLAN, WORKER_ENDED
from pytest_unineuron.evidence.strict_json import add_digest, to_json
from pytest_unineuron.options import settings as declared
from pytest_unineuron.reports import github, terminal, write
from pytest_unineuron.reports.step import GitHubStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_unineuron.evidence.collector import Collector
    from pytest_unineuron.evidence.records import Evidence
    from pytest_unineuron.plugin.protocol import Protocol
    from pytest_unineuron.plugin.run import Run


class Finisher:
    """Listens on the xdist controller, or in the only process. Registered once a session exists."""

    def __init__(self, run: Run, collector: Collector, protocol: Protocol) -> None:
        self._run = run
        self._collector = collector
        self._protocol = protocol
        self._evidence: Evidence | None = None
        self._gate = Gate(run.settings.fail_on)
        self._ready: set[str] = set()
        self._collected: dict[str, None] = {}
        self._step = GitHubStep.of()
        self._unsummarized = ""

    # -- what comes in ---------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)  # before whoever shows it, and may fail at that
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one item, from this process or from a worker."""
        if self._run.worker:
            return
        envelope = getattr(report, "unineuron", None)
        if envelope is not None:
            self._collector.on_event({"kind": PHASE_REPORT, "nodeid": report.nodeid, "envelope": envelope})
        elif report.when not in ("setup", "call", "teardown"):
            # How xdist reports an item whose worker died: without anything of ours.
            self._collector.on_event({"kind": CRASHED, "nodeid": report.nodeid, "reason": "its worker process died"})

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        """An xdist worker has started."""
        self._ready.add(node.gateway.id)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """What a worker has collected: the names of trials, which is all there is if every worker dies at once."""
        del node
        labels = [f"[{label}" for label in self._run.models]
        self._collected |= dict.fromkeys(nodeid for nodeid in ids if any(label in nodeid for label in labels))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        """An xdist worker is gone, in good order or not."""
        self._ready.discard(node.gateway.id)
        said = getattr(node, "workeroutput", {}).get("unineuron") if error is None else None
        if said is not None:
            if said["plan"]:
                self._collector.on_event({"kind": PLAN, "items": said["plan"]})
            self._collector.on_event({"kind": WORKER_ENDED, "worker": node.gateway.id, "sent": said["sent"]})
        elif error is not None:
            self._collector.on_event({"kind": WORKER_ENDED, "worker": node.gateway.id, "sent": None})

    # -- what goes out ---------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge, write, and decide the exit status. A worker only says how much it sent."""
        if self._run.worker:
            output: dict[str, Any] = self._run.config.workeroutput  # type: ignore[attr-defined]
            output["unineuron"] = {"sent": self._protocol.sent, "plan": self._protocol.plan}
            return
        if session.config.option.collectonly or not self._concerned:
            return
        if int(exitstatus) in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
            for worker in sorted(self._ready):
                self._collector.on_event({"kind": WORKER_ENDED, "worker": worker, "sent": None})
        if self._collector.incomplete and not self._collector.active:
            told = self._collector.incomplete
            for nodeid in self._collected:
                if not any(what.startswith(f"{nodeid}: ") for what in told):
                    self._collector.on_event({"kind": CRASHED, "nodeid": nodeid, "reason": "lost with every worker"})
        self._collector.findings = self._run.findings
        self._evidence = self._collector.evidence()
        if (lock := self._run.lock) is not None:
            self._evidence = replace(self._evidence, violations=lock.violations(self._evidence))
        lost = bool(self._collector.incomplete)
        unwritten = self._written(self._evidence, int(exitstatus)) if self._collector.active or lost else []
        if self._collector.journal is not None:
            self._collector.journal.close(finished=self._collector.finished and not unwritten)
        self._gate = Gate.of(self._evidence, self._run.settings, self._run.accepted, unwritten=tuple(unwritten))
        session.exitstatus = self._gate.status(int(exitstatus), self._evidence)[0]
        if self._step is not None and not self._run.settings.write_lock:
            self._unsummarized = self._step.append_summary(partial(github.job_summary, self._evidence, self._gate))

    @property
    def _concerned(self) -> bool:
        """Whether there is anything to say: a trial, something to be held against, or trials that were lost unheard.

        Workers that die while they collect take even the names of their trials along.
        """
        lost = self._collector.incomplete
        asked = self._run.settings != declared.Settings()
        of_ours = asked or any(f"[{label}" in what for what in lost for label in self._run.models)
        return self._collector.active or self._run.gated or bool(lost and of_ours)

    def _written(self, evidence: Evidence, status: int) -> list[str]:
        """Write what there is to write, and return what could not be."""
        if not self._run.settings.write_lock:
            return write.write_reports(evidence, self._run.out)
        unfit = "results were lost" if not self._collector.finished else Lock.reason_unfit(evidence)
        if unfit or status != pytest.ExitCode.OK:
            return [f"the lock was not written: {unfit or f'the run ended with status {status}'}"]
        try:
            write.write_text(self._run.write_lock, to_json(add_digest(Lock.of(evidence).as_dict())), exclusive=True)
        except OSError as error:
            return [f"the lock was not written: {error}"]
        return []

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
        """The table, the checklist, what a gate says, and where the files are."""
        if self._evidence is None:
            return
        terminalreporter.section("universal neurons: do they generalize?")
        width = config.get_terminal_writer().fullwidth if terminalreporter.isatty else None
        for text, colour in self._lines(self._evidence, width):
            terminalreporter.write_line(terminal.escape_commands(text), **({colour: True} if colour else {}))
        status, reason = self._gate.status(int(exitstatus), self._evidence)
        if reason:
            terminalreporter.write_line(f"Exit status {status}: {reason}.", red=True)

    def _lines(self, evidence: Evidence, width: int | None) -> list[terminal.Line]:
        run, journal = self._run, self._collector.journal
        lines: list[terminal.Line] = []
        if run.settings.write_lock:
            if not self._gate.unwritten:
                how = f"--unineuron-lock={run.settings.write_lock}"
                lines.append((f"Locked: {run.write_lock}. To test the claim, add {how}", ""))
        elif self._collector.active:
            lines += terminal.report_lines(evidence, width)
        lines += terminal.gate_lines(self._gate)
        if not run.settings.write_lock:
            lines += terminal.reproduce_lines(evidence, self._gate)
        lines += [(text, "yellow") for text in filter(None, (*run.overruled, self._unsummarized))]
        if journal is not None and journal.problem:
            lines.append((journal.problem, "yellow"))
        if self._collector.active and not self._gate.unwritten and not run.settings.write_lock:
            lines.append((f"Written: {run.out / write.SUMMARY}, and the full report beside it.", ""))
        return lines

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """On GitHub, annotate: when all else is said, so that every command has its line, whatever is shown."""
        if self._step is not None and self._evidence is not None:
            self._step.print_commands(
                github.make_annotations(self._evidence, self._gate, self._step.folder(config.rootpath))
            )

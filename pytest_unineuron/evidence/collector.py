"""Turns the events of a run into evidence, on the xdist controller or in the only process.

Every event is plain data, so that the events in a journal give the same evidence again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.build import build_evidence
from pytest_unineuron.evidence.distribution import Distribution
from pytest_unineuron.evidence.events import CRASHED, PHASE_REPORT, PLAN, WORKER_ENDED
from pytest_unineuron.evidence.layer_table import LayerTable
from pytest_unineuron.evidence.outcome import WORST_CONTROL_FIRST, WORST_FIRST, ArmResult, Outcome
from pytest_unineuron.evidence.planned import PlannedItem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_unineuron.evidence.journal import Journal
    from pytest_unineuron.evidence.records import Evidence


class Collector:
    """The planned items and the results that arrived, both by node id, and the ones that were lost.

    ``describe_run`` returns the settings and versions of the run and what it was asked for, as the report holds them;
    ``open_journal`` opens a journal that begins with these. Both are called when the first event of a trial arrives.
    """

    def __init__(
        self,
        describe_run: Callable[[], Mapping[str, Any]],
        open_journal: Callable[[Mapping[str, Any]], Journal] | None = None,
    ) -> None:
        self._describe_run = cache(describe_run)
        self._open_journal = open_journal
        self._before_journal: list[Mapping[str, Any]] = []
        self.planned: dict[str, PlannedItem] = {}
        self._versions: dict[str, str] = {}
        self._controls: dict[str, str] = {}
        self._models: dict[str, Any] = {}
        self._corpora: dict[str, Any] = {}
        self._forward_passes = 0
        self._cache_hits: set[tuple[tuple[str, Any], ...]] = set()
        self._cache_notes: list[str] = []
        self._distributions: dict[tuple[str, ...], Distribution] = {}
        self._tables: dict[tuple[str, ...], LayerTable] = {}
        self._sent: dict[str, int] = {}
        self._received: Counter[str] = Counter()
        self._lost: list[str] = []
        self._worker_of: dict[str, str] = {}
        self.journal: Journal | None = None
        self.results: dict[str, ArmResult] = {}
        self.findings: Mapping[str, Any] | None = None

    @property
    def active(self) -> bool:
        """Whether any trial was collected; if not, the plugin stays silent."""
        return bool(self.planned)

    @property
    def selected(self) -> set[str]:
        """The node ids of the items that were selected to run."""
        return {nodeid for nodeid, item in self.planned.items() if item.selected}

    @property
    def finished(self) -> bool:
        """Whether every selected item has a result, and nothing was lost."""
        return not self.incomplete and self.selected <= self.results.keys()

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Take in one event of a kind in ``evidence.events``, and write it to the journal."""
        self._write_to_journal(event)
        handlers: dict[str, Callable[..., None]] = {
            PLAN: self._on_plan,
            PHASE_REPORT: self._on_phase_report,
            CRASHED: self._on_crash,
            WORKER_ENDED: self._on_worker_end,
        }
        handlers[event["kind"]](**{key: value for key, value in event.items() if key != "kind"})

    def _write_to_journal(self, event: Mapping[str, Any]) -> None:
        if self.journal is not None:
            self.journal.write(event)
        elif self._open_journal is not None:
            self._before_journal.append(event)
            if event["kind"] in (PLAN, PHASE_REPORT):
                self.journal = self._open_journal(self._describe_run())
                for earlier in self._before_journal:
                    self.journal.write(earlier)

    def _on_plan(self, items: list[Mapping[str, Any]]) -> None:
        """Add the items that were collected. Every worker collects the same, so later plans change nothing."""
        for data in items:
            self.planned.setdefault(data["nodeid"], PlannedItem.of_dict(data))

    def _on_phase_report(self, nodeid: str, envelope: Mapping[str, Any]) -> None:
        """Take in what the process that ran an item sent with the report on one of its phases."""
        worker = envelope["worker"]
        self._received[worker] += 1
        self._on_plan(envelope["plan"])
        if envelope["result"]:
            result = ArmResult.of_dict(envelope["result"])
            self.results[nodeid] = self._merged(nodeid, worker, envelope["when"], result)
            self._worker_of[nodeid] = worker
        for event in envelope["events"]:
            self._on_lab_event(event)

    def _merged(self, nodeid: str, worker: str, phase: str, result: ArmResult) -> ArmResult:
        """The result of an item after one more phase, rerun, or run on another worker."""
        before = self.results.get(nodeid)
        if before is None:
            return result
        if phase == "teardown":
            return replace(before, outcome=result.outcome, reason=result.reason, notes=result.notes)
        if self._worker_of.get(nodeid, worker) != worker:
            # With --dist=each every worker runs every item, and the worst result counts: of a control, that it held.
            if self.planned[nodeid].case.control:
                return min(before, result, key=lambda arm: WORST_CONTROL_FIRST.index(arm.control_status))
            return min(before, result, key=lambda arm: WORST_FIRST.index(arm.outcome))
        return replace(result, notes=(*result.notes, f"ran again after {before.outcome}"))

    def _on_lab_event(self, event: Mapping[str, Any]) -> None:
        """Take in what the lab reports besides results."""
        match event["kind"]:
            case "forward_pass":
                self._forward_passes += 1
            case "cache_hit":
                self._cache_hits.add(
                    tuple((name, event[name]) for name in ("model", "corpus", "control", "draw", "what"))
                )
            case "cache_note":
                self._cache_notes.append(event["text"])
            case "extensions":
                self._versions |= event["versions"]
                self._controls |= event["controls"]
            case "model":
                self._models[event["label"]] = dict(event["facts"])
            case "corpus":
                facts = self._corpora.setdefault(event["label"], {**event["facts"], "tokens": {}})
                facts["tokens"][event["model"]] = event["tokens"]
            case "distribution":
                found = Distribution.of_dict({name: value for name, value in event.items() if name != "kind"})
                self._distributions[found.model, found.statistic, found.corpus, found.control, str(found.draw)] = found
            case "table":
                table = LayerTable.of_dict({name: value for name, value in event.items() if name != "kind"})
                self._tables[table.model, table.name, table.corpus, table.control, str(table.draw)] = table
            case "sinks":
                self._models.setdefault(event["model"], {}).setdefault("sinks", {})[event["corpus"]] = event["facts"]
            case "units":
                self._models.setdefault(event["model"], {}).setdefault("units", {})[event["units"]] = event["facts"]
            case _:  # the share of tokens that were routed to an expert
                self._models.setdefault(event["model"], {}).setdefault("routed", {})[event["corpus"]] = event["share"]

    def _on_crash(self, nodeid: str, reason: str) -> None:
        self._worker_of.pop(nodeid, None)
        if nodeid in self.planned:
            before = self.results.get(nodeid, ArmResult(Outcome.ERROR))
            self.results[nodeid] = replace(before, outcome=Outcome.ERROR, reason=reason)
        self._lost.append(f"{nodeid}: {reason}")

    def _on_worker_end(self, worker: str, sent: int | None) -> None:
        """Take in that a worker ended; ``sent`` is the number of reports it sent, None if it died without saying."""
        if sent is None:
            self._lost.append(f"worker {worker} vanished")
        else:
            self._sent[worker] = sent

    @property
    def incomplete(self) -> tuple[str, ...]:
        """A sentence for each item or worker whose results were lost."""
        missing = [
            f"worker {worker} sent {sent} results, {self._received[worker]} arrived"
            for worker, sent in sorted(self._sent.items())
            if sent != self._received[worker]
        ]
        return (*self._lost, *missing)

    def evidence(self) -> Evidence:
        """The evidence so far."""
        run = self._describe_run()
        settings = run["settings"]
        return build_evidence(
            self.planned.values(),
            self.results,
            policy=settings["policy"],
            accept_vacuous=settings["accept_vacuous"],
            holm=settings["holm"],
            settings=settings,
            models=dict(sorted(self._models.items())),
            corpora=dict(sorted(self._corpora.items())),
            forward_passes=self._forward_passes,
            cache_hits=tuple(map(dict, sorted(self._cache_hits))),
            cache_notes=tuple(dict.fromkeys(self._cache_notes)),
            distributions=tuple(found for _, found in sorted(self._distributions.items())),
            tables=tuple(table for _, table in sorted(self._tables.items())),
            versions=run["versions"] | self._versions,
            controls=run.get("controls", {}) | self._controls,
            incomplete=self.incomplete,
            findings=self.findings,
            asked=run["asked"],
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

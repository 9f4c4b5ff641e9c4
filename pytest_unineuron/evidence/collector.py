"""Listens to test reports and fills the evidence. Lives on the xdist controller, or in the only process.

Everything it hears is an event of plain data, so a journal of events gives the same evidence again.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from pytest_unineuron.cache.source_code import own_digest
from pytest_unineuron.evidence.build import build_evidence
from pytest_unineuron.evidence.events import CRASHED, ENDED, PLAN, TOOK
from pytest_unineuron.evidence.outcome import WORST_FIRST, ArmResult, Outcome
from pytest_unineuron.evidence.planned import PlannedItem
from pytest_unineuron.evidence.records import SOURCE, Evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_unineuron.baseline.journal import Journal

ENVELOPE_VERSION = 3
"""Version of what travels from a worker to the controller with each test report."""
PACKAGES = (
    "pytest-unineuron",
    "pytest",
    "pytest-xdist",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "scipy",
)


class Collector:
    """What was planned, what came back, and what is missing between the two.

    ``run`` tells what the run was asked to do: its settings, versions, and what it was given. ``journal`` opens a
    journal for it. Both are called when a trial is first heard of.
    """

    def __init__(
        self, run: Callable[[], Mapping[str, Any]], journal: Callable[[Mapping[str, Any]], Journal] | None = None
    ) -> None:
        self._run = cache(run)
        self._open = journal
        self._early: list[Mapping[str, Any]] = []
        self._planned: dict[str, PlannedItem] = {}
        self._models: dict[str, Any] = {}
        self._corpora: dict[str, Any] = {}
        self._passes = 0
        self._kept: set[tuple[tuple[str, Any], ...]] = set()
        self._told: list[str] = []
        self._sent: dict[str, int] = {}
        self._received: dict[str, int] = {}
        self._lost: list[str] = []
        self._by: dict[str, str] = {}
        self.journal: Journal | None = None
        self.results: dict[str, ArmResult] = {}
        self.findings: Mapping[str, Any] | None = None

    @property
    def active(self) -> bool:
        """Whether any trial was collected; if not, the plugin has nothing to say."""
        return bool(self._planned)

    @property
    def selected(self) -> set[str]:
        """The node ids that were to run."""
        return {nodeid for nodeid, planned in self._planned.items() if planned.selected}

    @property
    def finished(self) -> bool:
        """Whether everything that was to run has a result, and nothing was lost."""
        return not self.incomplete and self.selected <= self.results.keys()

    def hear(self, event: Mapping[str, Any]) -> None:
        """One event: a plan, a phase of an item, a crash, the end of a worker."""
        if self._open is not None and self.journal is None:
            self._early.append(event)
            if event["kind"] in (PLAN, TOOK):
                self.journal = self._open(self._run())
                for earlier in self._early:
                    self.journal.write(earlier)
        elif self.journal is not None:
            self.journal.write(event)
        said = {key: value for key, value in event.items() if key != "kind"}
        heard: dict[str, Callable[..., None]] = {
            PLAN: self._plan,
            TOOK: self._take,
            CRASHED: self._crashed,
            ENDED: self._worker_ended,
        }
        heard[event["kind"]](**said)

    def _plan(self, items: list[Mapping[str, Any]]) -> None:
        """Take note of what was collected. Every worker collects the same, so later lists change nothing."""
        for data in items:
            self._planned.setdefault(data["nodeid"], PlannedItem.of_dict(data))

    def _take(self, nodeid: str, envelope: Mapping[str, Any]) -> None:
        """One phase of one item. A later phase or a rerun replaces what it overrules."""
        worker = envelope["worker"]
        self._received[worker] = self._received.get(worker, 0) + 1
        self._plan(envelope["plan"])
        result = ArmResult.of_dict(envelope["result"]) if envelope["result"] else None
        before = self.results.get(nodeid)
        if result is not None:
            if before is not None and envelope["when"] == "teardown":
                result = replace(before, outcome=result.outcome, reason=result.reason, notes=result.notes)
            elif before is not None and self._by.get(nodeid, worker) != worker:
                # --dist=each: several workers measure every item, and the worst of it counts.
                result = min(before, result, key=lambda arm: WORST_FIRST.index(arm.outcome))
            elif before is not None:
                result = replace(result, notes=(*result.notes, f"ran again after {before.outcome}"))
            self.results[nodeid] = result
            self._by[nodeid] = worker
        for event in envelope["events"]:
            self._note(event)

    def _note(self, event: Mapping[str, Any]) -> None:
        """Something a lab reported besides results: a model, a corpus, how tokens were routed, a pass, or none."""
        if event["kind"] == "pass":
            self._passes += 1
            return
        if event["kind"] == "kept":
            self._kept.add(tuple((name, event[name]) for name in ("model", "corpus", "control", "draw", "what")))
            return
        if event["kind"] == "told":
            self._told.append(event["text"])
            return
        if event["kind"] == "model":
            self._models[event["label"]] = dict(event["facts"])
        elif event["kind"] == "corpus":
            known = self._corpora.setdefault(event["label"], {**event["facts"], "tokens": {}})
            known["tokens"][event["model"]] = event["tokens"]
        else:
            self._models.setdefault(event["model"], {}).setdefault("routed", {})[event["corpus"]] = event["share"]

    def _crashed(self, nodeid: str, reason: str) -> None:
        """The process that ran this item is gone."""
        self._by.pop(nodeid, None)
        if nodeid in self._planned:
            before = self.results.get(nodeid, ArmResult(Outcome.ERROR))
            self.results[nodeid] = replace(before, outcome=Outcome.ERROR, reason=reason)
        self._lost.append(f"{nodeid}: {reason}")

    def _worker_ended(self, worker: str, sent: int | None) -> None:
        """A worker is down; ``sent`` is how many envelopes it says it sent, None if it could not say."""
        if sent is None:
            self._lost.append(f"worker {worker} vanished")
        else:
            self._sent[worker] = sent

    @property
    def incomplete(self) -> tuple[str, ...]:
        """What was lost on the way, in words. Empty for a run that can be trusted to be whole."""
        missing = [
            f"worker {worker} sent {sent} results, {self._received.get(worker, 0)} arrived"
            for worker, sent in sorted(self._sent.items())
            if sent != self._received.get(worker, 0)
        ]
        return (*self._lost, *missing)

    def evidence(self) -> Evidence:
        """Everything so far, judged."""
        run = self._run()
        settings = run["settings"]
        return build_evidence(
            self._planned.values(),
            self.results,
            policy=settings["policy"],
            accept_vacuous=settings["accept_vacuous"],
            holm=settings["holm"],
            settings=settings,
            models=dict(sorted(self._models.items())),
            corpora=dict(sorted(self._corpora.items())),
            forward_passes=self._passes,
            cache_hits=tuple(map(dict, sorted(self._kept))),
            cache_notes=tuple(dict.fromkeys(self._told)),
            versions=run["versions"],
            incomplete=self.incomplete,
            findings=self.findings,
            asked=run["asked"],
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def versions() -> dict[str, str]:
    """The versions a result depends on."""
    found = {"python": platform.python_version(), "platform": platform.platform(), SOURCE: own_digest()[:16]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

"""Listens to test reports and fills the evidence. Lives on the xdist controller, or in the only process."""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from pytest_unineuron.reports.evidence import Evidence, Planned, gather
from pytest_unineuron.trials.outcome import ArmResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_unineuron.options import Settings

ENVELOPE = 1
"""Version of what travels from a worker to the controller with each test report."""
PACKAGES = ("pytest-unineuron", "pytest", "pytest-xdist", "torch", "transformers", "numpy", "scipy")


class Collector:
    """What was planned, what came back, and what is missing between the two."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._planned: dict[str, Planned] = {}
        self._results: dict[str, ArmResult] = {}
        self._models: dict[str, Any] = {}
        self._corpora: dict[str, Any] = {}
        self._passes = 0
        self._sent: dict[str, int] = {}
        self._received: dict[str, int] = {}
        self._lost: list[str] = []
        self.findings: Mapping[str, Any] | None = None

    @property
    def active(self) -> bool:
        """Whether any trial was collected; if not, the plugin has nothing to say."""
        return bool(self._planned)

    def plan(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Take note of what was collected. Every worker collects the same, so later lists change nothing."""
        for data in items:
            self._planned.setdefault(data["nodeid"], Planned.of_dict(data))

    def take(self, nodeid: str, envelope: Mapping[str, Any]) -> None:
        """One phase of one item. A later phase or a rerun replaces what it overrules."""
        worker = envelope["worker"]
        self._received[worker] = self._received.get(worker, 0) + 1
        self.plan(envelope.get("plan", ()))
        result = ArmResult.of_dict(envelope["result"]) if envelope["result"] else None
        before = self._results.get(nodeid)
        if result is not None:
            if before is not None and envelope["when"] == "teardown":
                result = replace(result, measurements=before.measurements, duration=before.duration)
            elif before is not None:
                result = replace(result, notes=(*result.notes, f"ran again after {before.outcome}"))
            self._results[nodeid] = result
        for event in envelope["events"]:
            self._note(event)

    def _note(self, event: Mapping[str, Any]) -> None:
        """Something a lab reported besides results: a model, a corpus, how tokens were routed, or a pass."""
        if event["kind"] == "model":
            self._models[event["label"]] = dict(event["facts"])
        elif event["kind"] == "corpus":
            known = self._corpora.setdefault(event["label"], {**event["facts"], "tokens": {}})
            known["tokens"][event["model"]] = event["tokens"]
        elif event["kind"] == "routed":
            self._models.setdefault(event["model"], {}).setdefault("routed", {})[event["corpus"]] = event["share"]
        else:
            self._passes += 1

    def crashed(self, nodeid: str, reason: str) -> None:
        """The process that ran this item is gone."""
        if nodeid in self._planned:
            self._results[nodeid] = ArmResult(Outcome.ERROR, reason)
        self._lost.append(f"{nodeid}: {reason}")

    def worker_ended(self, worker: str, sent: int | None) -> None:
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
        return gather(
            self._planned.values(),
            self._results,
            policy=self._settings.policy,
            accept_vacuous=self._settings.accept_vacuous,
            holm=self._settings.holm,
            settings=self._settings.as_dict(),
            models=dict(sorted(self._models.items())),
            corpora=dict(sorted(self._corpora.items())),
            forward_passes=self._passes,
            versions=versions(),
            incomplete=self.incomplete,
            findings=self.findings,
        )


def versions() -> dict[str, str]:
    """The versions a result depends on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

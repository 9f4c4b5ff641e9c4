"""The evidence in a saved report, or in the journal of a run that was killed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_unineuron.errors import ReportError
from pytest_unineuron.evidence import journal, saved, strict_json
from pytest_unineuron.evidence.events import FINISHED
from pytest_unineuron.evidence.summary import report_data

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_unineuron.evidence.collector import Collector
    from pytest_unineuron.evidence.journal import JournalContent
    from pytest_unineuron.evidence.records import Evidence


UNCHECKED = "it was run under the lock"
"""How the violation begins that says that a lock was not looked at."""


def replay_journal(record: JournalContent) -> Collector:
    """A collector that has received every event of a journal."""
    from pytest_unineuron.evidence.collector import Collector

    start, *events = record.events
    collector = Collector(lambda: start)
    for event in events:
        if event["kind"] != FINISHED:
            collector.on_event(event)
    return collector


def read_evidence(path: Path) -> Evidence:
    """The evidence in a file: a journal if its name ends in ``.jsonl``, else a report. Raises ReportError."""
    return _from_journal(path) if path.suffix == journal.SUFFIX else saved.read_report(path)


def _from_journal(path: Path) -> Evidence:
    record = journal.read_journal(path)
    where = f"journal {path}"
    try:
        # Through the data of a report, so that everything in the journal is checked as in a report.
        data = strict_json.add_digest(report_data(replay_journal(record).evidence()))
        evidence = saved.evidence_from_report(data, where)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(f"{where}: cannot be understood ({type(error).__name__}: {error}); run it again") from None
    if lock := evidence.settings.get("lock"):
        unchecked = f"{UNCHECKED} {lock}, which a journal is not held to: gate … --lock={lock}"
        evidence = replace(evidence, violations=(unchecked,))
    lost = [f"line {number} of the journal is damaged" for number in record.damaged]
    if not record.finished:
        lost.append("the run did not come to its end; this is what its journal holds")
    return replace(evidence, incomplete=(*evidence.incomplete, *lost), created=str(record.events[0].get("created", "")))

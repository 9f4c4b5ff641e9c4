"""A run on GitHub: a job summary that fits into the limit, and annotations of the ten most important findings.

GitHub drops a summary above 1 MiB as a whole, and shows ten annotations of a level for each step of a job.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_unineuron.baseline.comparison import CaseState
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.reports import markdown
from pytest_unineuron.reports.lines import shorten
from pytest_unineuron.reports.reproduce import failed_cases
from pytest_unineuron.reports.text_charts import chart_section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_unineuron.baseline.gate import Gate
    from pytest_unineuron.evidence.records import Evidence

MAX_SUMMARY_BYTES = 2**20
"""The limit for the summary of one step, which other tools may share."""
MAX_ANNOTATIONS = 10
MAX_MESSAGE_LENGTH = 1000
"""In characters."""
ERROR, WARNING, NOTICE = "error", "warning", "notice"
UNUSABLE_BASELINE = "the baseline cannot be used"
"""The title of an annotation."""


@dataclass(frozen=True)
class Annotation:
    """One message at a line of a file; ``file`` is empty for a message about the whole run."""

    level: str
    title: str
    message: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        """The workflow command, on one line whatever the texts contain."""
        fields = {"file": self.file, "line": self.line or "", "title": self.title}
        properties = ",".join(f"{name}={_escape_property(value)}" for name, value in fields.items() if value)
        return f"::{self.level} {properties}::{_escape_message(self.message)}"


def _escape_message(text: object) -> str:
    return str(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: object) -> str:
    return _escape_message(text).replace(":", "%3A").replace(",", "%2C")


def make_annotations(evidence: Evidence, gate: Gate, folder: str | None = "") -> list[Annotation]:
    """The annotations of a run, at most ten, the most important first; a tenth that counts the rest if there are more.

    ``folder`` is the path of pytest's root folder within the repository; None if it is outside.
    """
    places = dict(_places(evidence, folder))
    found = [*_run_annotations(evidence, gate, places), *_case_annotations(evidence, gate, places)]
    if len(found) <= MAX_ANNOTATIONS:
        return found
    shown, rest = found[: MAX_ANNOTATIONS - 1], found[MAX_ANNOTATIONS - 1 :]
    level = next(level for level in (ERROR, WARNING, NOTICE) if any(each.level == level for each in rest))
    titles = "\n".join(each.title for each in rest)
    return [*shown, Annotation(level, f"{len(rest)} more", _shorten(f"The report has them all:\n{titles}"))]


FilePlace = tuple[str, int]
"""A file in the repository and a line of it; an empty name if the file is outside."""


def _places(evidence: Evidence, folder: str | None) -> Iterator[tuple[str, FilePlace]]:
    """The place of each item, by its node id."""
    for each in evidence.cases:
        file = posixpath.normpath(posixpath.join(folder or "", each.record.path))
        inside = folder is not None and not file.startswith(("..", "/"))
        yield from ((arm.nodeid, (file, each.record.line) if inside else ("", 0)) for arm in each.arms)


def _run_annotations(evidence: Evidence, gate: Gate, places: Mapping[str, FilePlace]) -> Iterator[Annotation]:
    """Annotations of lost results, lock violations, the baseline, and cases that differ from it."""
    for text in sorted(evidence.incomplete, key=lambda text: not _lost_item(text, places)):  # items before workers
        yield Annotation(ERROR, "results were lost", _shorten(text), *places.get(_lost_item(text, places), ("", 0)))
    yield from (Annotation(ERROR, "results were lost", _shorten(text)) for text in gate.unwritten)
    yield from (Annotation(ERROR, "lock violated", _shorten(text)) for text in evidence.violations)
    if gate.unusable:
        yield Annotation(ERROR, UNUSABLE_BASELINE, _shorten(gate.unusable))
    if gate.comparison is None:
        return
    if not gate.comparison.compared:
        yield Annotation(ERROR, "nothing was compared", f"Against the baseline: {gate.comparison}")
    commands = {each.nodeid_of_case: each.command(evidence) for each in failed_cases(evidence, gate.comparison)}
    level = ERROR if gate.fail_on == "regression" else WARNING
    for state in (CaseState.REGRESSED, CaseState.MISSING, CaseState.INCOMPARABLE, CaseState.NOT_RUN):
        for entry in gate.comparison.of(state) if state not in gate.tolerated else ():
            command = f"\n{commands[entry.nodeid]}" if entry.nodeid in commands else ""
            place = places.get(entry.nodeid, ("", 0))
            yield Annotation(level, f"{state}: {entry.case}", _shorten(entry.reason) + command, *place)


def _case_annotations(evidence: Evidence, gate: Gate, places: Mapping[str, FilePlace]) -> Iterator[Annotation]:
    """Annotations of trials that broke, missed their bound or are vacuous, unless they already have one."""
    annotated = {_lost_item(text, places) for text in evidence.incomplete}
    annotated |= {entry.nodeid for entry in (gate.comparison.of(CaseState.REGRESSED) if gate.comparison else ())}
    for failed in failed_cases(evidence, gate.comparison):
        if not annotated & {failed.nodeid, failed.nodeid_of_case}:
            level = ERROR if failed.kind == Outcome.ERROR or gate.fail_on == "trial" else WARNING
            message = f"{_shorten(failed.reason)}\n{failed.command(evidence)}"
            yield Annotation(level, f"{failed.kind}: {failed.name}", message, *places[failed.nodeid])
            annotated.add(failed.nodeid_of_case)
    for each in evidence.cases:
        if each.case.outcome is Outcome.VACUOUS and each.nodeid not in annotated:
            title = f"{each.case.outcome}: {each.name}"
            yield Annotation(NOTICE, title, _shorten(each.case.reason), *places[each.nodeid])


def _lost_item(text: str, places: Mapping[str, FilePlace]) -> str:
    """The node id with which a sentence about a lost result begins; empty if it is about a worker."""
    return next((nodeid for nodeid in places if text.startswith(f"{nodeid}: ")), "")


def _shorten(text: str) -> str:
    return shorten(text, MAX_MESSAGE_LENGTH)


def job_summary(evidence: Evidence, gate: Gate, max_bytes: int = MAX_SUMMARY_BYTES) -> str:
    """The report in Markdown, the most important first, in at most ``max_bytes`` of UTF-8."""
    out = [*markdown.checklist_section(evidence), *_gate_section(evidence, gate), *chart_section(evidence)]
    out += markdown.reproduce_section(evidence, failed_cases(evidence, gate.comparison))
    out += [*markdown.trials_sections(evidence), *markdown.provenance_sections(evidence)]
    whole = posixpath.join(str(evidence.settings.get("out", "")), "generalization_eval_report.md")
    remark = f"This summary was cut to fit; {markdown.escape_markdown(whole)} is whole."
    return truncate_to_bytes("\n".join(out) + "\n", max_bytes, remark)


def _gate_section(evidence: Evidence, gate: Gate) -> Iterator[str]:
    """The reasons for the exit status, and every case that differs from the baseline."""
    reasons = [f"{reason} (status {int(status)})" for status, reason in gate.reasons(evidence)]
    lines = [*evidence.incomplete, *gate.unwritten, *evidence.violations, *filter(None, [gate.unusable])]
    if gate.comparison is not None:
        states = [state for state in CaseState if state is not CaseState.SAME]
        lines += [f"Against the baseline: {gate.comparison}"]
        lines += [_shorten(str(entry)) for state in states for entry in gate.comparison.of(state)]
        lines += gate.comparison.remarks
    if reasons or lines:
        result = markdown.escape_markdown("; ".join(reasons) or "nothing fails it")
        yield from ("", "## Gate", "", f"**{result}**", "")
        yield from (f"- {markdown.escape_markdown(line)}" for line in lines)


def truncate_to_bytes(text: str, max_bytes: int, remark: str) -> str:
    """The text if it fits, else as many whole lines as fit, and the remark; empty if no line fits.

    A fenced block of code is included as a whole or left out.
    """
    if _size(text) <= max_bytes:
        return text
    ending = f"\n{remark}\n"
    left, complete, block, fence = max_bytes - _size(ending), "", "", ""
    for line in text.splitlines(keepends=True):
        block += line
        left -= _size(line)
        if left < 0:
            break
        bare = line.strip()
        if fence:
            fence = "" if bare == fence else fence
        elif bare.startswith("```"):
            fence = bare.removesuffix("sh")
        if not fence:
            complete, block = complete + block, ""
    return complete + ending if complete else ""


def _size(text: str) -> int:
    return len(text.encode("utf-8", "backslashreplace"))

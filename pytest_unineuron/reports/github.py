"""A run on GitHub: a job summary that fits, and ten annotations, the most important ones.

Sizes and numbers are GitHub's: a summary above 1 MiB is dropped whole, and a step shows ten annotations of a kind.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_unineuron.baseline.comparison import State
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.reports import markdown
from pytest_unineuron.reports.reproduce import failing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_unineuron.baseline.gate import Gate
    from pytest_unineuron.evidence.records import Evidence

LIMIT = 2**20
"""Bytes of a step's summary, whoever wrote them."""
MOST = 10
"""Annotations of a run."""
LONGEST = 1000
"""Characters of a reason."""
ERROR, WARNING, NOTICE = "error", "warning", "notice"


@dataclass(frozen=True)
class Annotation:
    """One message at a line of a file; ``file`` is empty where it belongs to none."""

    level: str
    title: str
    message: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        """The workflow command, on one line whatever the texts hold."""
        said = {"file": self.file, "line": self.line or "", "title": self.title}
        properties = ",".join(f"{name}={_property(value)}" for name, value in said.items() if value)
        return f"::{self.level} {properties}::{_data(self.message)}"


def _data(text: object) -> str:
    return str(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: object) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def annotate(evidence: Evidence, gate: Gate, folder: str | None = "") -> list[Annotation]:
    """At most ten, the most important first; the tenth counts the rest if there are more.

    ``folder`` is where pytest's root folder lies in the repository; None if it does not lie there.
    """
    where = dict(_places(evidence, folder))
    found = [*_run(evidence, gate, where), *_cases(evidence, gate, where)]
    if len(found) <= MOST:
        return found
    rest = found[MOST - 1 :]
    level = next(level for level in (ERROR, WARNING, NOTICE) if any(each.level == level for each in rest))
    names = "\n".join(each.title for each in rest)
    return [*found[: MOST - 1], Annotation(level, f"{len(rest)} more", _short(f"The report has them all:\n{names}"))]


Place = tuple[str, int]
"""A file in the repository and a line of it; an empty name for none."""


def _places(evidence: Evidence, folder: str | None) -> Iterator[tuple[str, Place]]:
    """Where each item stands, by its node id."""
    for record in evidence.trials:
        file = posixpath.normpath(posixpath.join(folder or "", record.path))
        known = folder is not None and not file.startswith(("..", "/"))
        for subject in record.subjects:
            for case in subject.cases:
                for arm in (case.result.subject, *case.result.arms.values()):
                    yield arm.nodeid, ((file, record.line) if known else ("", 0))


def _run(evidence: Evidence, gate: Gate, where: Mapping[str, Place]) -> Iterator[Annotation]:
    """What was lost, what moved, and what is not as it was accepted."""
    for what in sorted(evidence.incomplete, key=lambda what: not _crashed(what, where)):  # trials before workers
        yield Annotation(ERROR, "results were lost", _short(what), *where.get(_crashed(what, where), ("", 0)))
    yield from (Annotation(ERROR, "results were lost", _short(what)) for what in gate.unwritten)
    yield from (Annotation(ERROR, "lock violated", _short(what)) for what in evidence.violations)
    again = {each.case.result.subject.nodeid: each for each in failing(evidence, gate.comparison)}
    if gate.unusable:
        yield Annotation(ERROR, "the baseline cannot be used", _short(gate.unusable))
    elif gate.comparison is not None and not gate.comparison.compared:
        yield Annotation(ERROR, "nothing was compared", f"Against the baseline: {gate.comparison}")
    for state in (State.REGRESSED, State.MISSING, State.INCOMPARABLE, State.NOT_RUN):
        for entry in gate.comparison.of(state) if gate.comparison and state not in gate.tolerated else ():
            level = ERROR if gate.fail_on == "regression" else WARNING
            command = f"\n{again[entry.nodeid].command(evidence)}" if entry.nodeid in again else ""
            title = _title(state, entry.name, entry.variant, entry.model)
            yield Annotation(level, title, _short(entry.reason) + command, *where.get(entry.nodeid, ("", 0)))


def _cases(evidence: Evidence, gate: Gate, where: Mapping[str, Place]) -> Iterator[Annotation]:
    """Trials that broke, that miss their bound, and that a control passes too, unless they were told of already."""
    told = {_crashed(what, where) for what in evidence.incomplete}
    told |= {entry.nodeid for entry in (gate.comparison.of(State.REGRESSED) if gate.comparison else ())}
    for each in failing(evidence, gate.comparison):
        if not told & {each.nodeid, each.case.result.subject.nodeid}:
            level = ERROR if each.kind == Outcome.ERROR or gate.fail_on == "trial" else WARNING
            message = f"{_short(each.reason)}\n{each.command(evidence)}"
            yield Annotation(level, f"{each.kind}: {each.name}", message, *where[each.nodeid])
            told.add(each.case.result.subject.nodeid)
    for record in evidence.trials:
        for subject in record.subjects:
            for case in subject.cases:
                nodeid = case.result.subject.nodeid
                if case.outcome is Outcome.VACUOUS and nodeid not in told:
                    title = _title(case.outcome, record.name, case.variant, subject.model)
                    yield Annotation(NOTICE, title, _short(case.reason), *where[nodeid])


def _title(word: object, name: str, variant: str, model: str) -> str:
    return f"{word}: {name}{' ' + variant if variant else ''} on {model}"


def _crashed(what: str, where: Mapping[str, Place]) -> str:
    """The node id with which a sentence on a lost result begins, if it begins with one."""
    return next((nodeid for nodeid in where if what.startswith(f"{nodeid}: ")), "")


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def summary(evidence: Evidence, gate: Gate, room: int = LIMIT) -> str:
    """The report in Markdown, what matters most first, in at most ``room`` bytes of UTF-8."""
    out = [*markdown.checklist(evidence), *_gate(evidence, gate)]
    out += markdown.reproduce(evidence, failing(evidence, gate.comparison))
    out += [*markdown.trials(evidence), *markdown.made_from(evidence)]
    where = posixpath.join(str(evidence.settings.get("out", "")), "generalization_eval_report.md")
    return fitted("\n".join(out) + "\n", room, f"This summary was cut to fit; {markdown.escape(where)} is whole.")


def _gate(evidence: Evidence, gate: Gate) -> Iterator[str]:
    """What ends the run, and every trial that is not as it was."""
    reasons = [f"{reason} (status {int(status)})" for status, reason in gate.reasons(evidence)]
    lines = [*evidence.incomplete, *gate.unwritten, *evidence.violations, *filter(None, [gate.unusable])]
    if gate.comparison is not None:
        states = [state for state in State if state is not State.SAME]
        lines += [f"Against the baseline: {gate.comparison}"]
        lines += [_short(str(entry)) for state in states for entry in gate.comparison.of(state)]
        lines += gate.comparison.remarks
    if reasons or lines:
        yield from ("", "## Gate", "", f"**{markdown.escape('; '.join(reasons) or 'nothing to object to')}**", "")
        yield from (f"- {markdown.escape(line)}" for line in lines)


def fitted(text: str, room: int, remark: str) -> str:
    """The text if it fits into ``room`` bytes, else as many whole lines as do, and the remark; or nothing.

    A block of code is kept whole or left out.
    """
    if _size(text) <= room:
        return text
    ending = f"\n{remark}\n"
    left, kept, pending, fence = room - _size(ending), [], [], ""
    for line in text.splitlines(keepends=True):
        pending.append(line)
        left -= _size(line)
        if left < 0:
            break
        bare = line.strip()
        if fence:
            fence = "" if bare == fence else fence
        elif bare.startswith("```"):
            fence = bare.removesuffix("sh")
        if not fence:
            kept += pending
            pending = []
    return "".join(kept) + ending if kept else ""


def _size(text: str) -> int:
    return len(text.encode("utf-8", "backslashreplace"))

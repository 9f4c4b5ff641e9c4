"""The report as one static page of HTML, which needs no network. Text from outside is escaped by its template."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.evidence.outcome import Outcome
from pytest_unineuron.evidence.protocol import MAX_TRIES, by_protocol
from pytest_unineuron.evidence.verdict import Support, Verdict
from pytest_unineuron.reports.by_outcome import cases_not_applicable
from pytest_unineuron.reports.charts import dot_plots, line_plots
from pytest_unineuron.reports.distribution_charts import distribution_plots
from pytest_unineuron.reports.layer_tables import by_depth
from pytest_unineuron.reports.lines import shorten
from pytest_unineuron.reports.reproduce import neurons_command, reproduce_command
from pytest_unineuron.reports.terminal import STATE_COLOURS, VERDICT_MARKS, VERDICT_WORDS, assessment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_unineuron.baseline.comparison import CaseState, ComparedCase, Comparison
    from pytest_unineuron.evidence.records import CriterionRecord, Evidence, RecordedCase, TrialRecord
    from pytest_unineuron.reports.charts import DotPlot, LinePlot

MAX_BYTES = 5_000_000
"""The size above which a page leaves charts out."""
FRAME_ROWS = 24
"""The height of a page within another one, in lines of text."""
OUTCOME_MARKS = {"PASS": "✓", "FAIL": "✗", "VACUOUS": "○", "ERROR": "!", "NA": "—", "NOT_RUN": "·"}
SUPPORT_WORDS = {
    Support.DIRECT: "this model was compared with models trained from other seeds",
    Support.SIGNATURE: "only what universal neurons look like was tested, not whether other seeds have them",
}
_TEMPLATES = Path(__file__).parent / "templates"


CHARTS = {
    "all": "",
    "trials": "Distributions over neurons and tables by layer were left out, since the page would be too large.",
    "primary": "Distributions over neurons, tables by layer and charts of trials that are not primary were left out, "
    "since the page would be too large.",
    "none": "Charts were left out, since the page would be too large.",
}
"""The charts that are shown, most first, and the sentence that says which are not."""


def render_page(evidence: Evidence, comparison: Comparison | None = None, before: Evidence | None = None) -> str:
    """The page of a run: verdicts, what failed and what changed, every trial with its charts, and provenance.

    With a ``comparison`` it lists what changed since an earlier run; with ``before``, that run, its numbers and
    verdicts are shown beside the present ones. A page above ``MAX_BYTES`` leaves charts out, and says so.
    """
    page = ""
    for charts in CHARTS:
        page = render_template("report.html", Page(evidence, comparison, before, charts))
        if fits(page):
            break
    return page


def fits(page: str) -> bool:
    """Whether a page is of at most ``MAX_BYTES``."""
    return len(page.encode("utf-8", "backslashreplace")) <= MAX_BYTES


def render_template(name: str, page: object) -> str:
    """The text of a template that reads ``page``; everything in it is escaped."""
    text: str = _environment().get_template(name).render(page=page)
    return text


@cache
def _environment() -> Any:
    """The environment of all templates, which holds them compiled."""
    import jinja2  # here, since a run that writes no page needs none

    loader = jinja2.FileSystemLoader(_TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.undefined = jinja2.StrictUndefined
    script = (_TEMPLATES / "filter.js").read_text(encoding="utf-8")
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {"script": script, "script_digest": digest}
    environment.filters["fact"] = fact_text
    return environment


def fact_text(value: Any) -> str:
    """A fact of a report in words, which is plain JSON data."""
    if isinstance(value, Mapping):
        texts = [(name, fact_text(each), isinstance(each, Mapping)) for name, each in value.items()]
        return "; ".join(f"{name} ({text})" if nested else f"{name} {text}" for name, text, nested in texts) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(fact_text, value)) or "–"
    return "–" if value is None or value == "" else str(value)


def render_frame(page: str, rows: int = FRAME_ROWS) -> str:
    """A page as a frame of some rows of text within another one, such as a notebook, whose styles it does not touch."""
    text = page.replace("&", "&amp;").replace('"', "&quot;")
    return f'<iframe srcdoc="{text}" style="width: 100%; height: {rows * 1.5:g}rem; border: 0"></iframe>'


def anchor(name: str) -> str:
    """The id of a part of the page, without spaces, of at most 90 characters; a name always has the same one.

    >>> anchor("heavy_tails"), anchor("heavy_tails[news]")
    ('heavy_tails', 'heavy_tails-news-9782f9')
    """
    plain = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-")[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:6]}"


@dataclass(frozen=True)
class ShownCase:
    """One case as the page shows it."""

    recorded: RecordedCase
    command: str
    neurons: str
    """The command that lists the neurons behind the case; empty if it is not about neurons."""
    dots: list[DotPlot]
    lines: list[LinePlot]

    @property
    def anchor(self) -> str:
        """The id of the case on the page."""
        return anchor(self.recorded.name)

    @property
    def outcome(self) -> Outcome:
        """The outcome of the case."""
        return self.recorded.case.outcome

    @property
    def reason(self) -> str:
        """The reason for the outcome, cut to a length that can be read in a list."""
        return shorten(self.recorded.case.reason)

    @property
    def others(self) -> list[str]:
        """The measurements that are not claimed: minimums, and numbers that are only reported."""
        return [str(m) for m in self.recorded.case.result.subject.measurements if not m.claimed]

    @property
    def controls(self) -> list[str]:
        """How every control ended that measured nothing, and so is in no chart."""
        arms = self.recorded.case.result.arms.items()
        return [f"{name}: {arm.outcome}, {shorten(arm.reason)}" for name, arm in arms if not arm.measurements]


def render_figures(recorded: RecordedCase) -> str:
    """The charts of one case with its outcome, as a frame within another page."""
    result, model = recorded.case.result, recorded.subject.model
    shown = ShownCase(recorded, "", "", dot_plots(result, model), line_plots(result, model))
    rows = 5 + sum(4 + 2 * len(plot.dots) for plot in shown.dots) + 12 * len(shown.lines)
    return render_frame(render_template("figures.html", shown), min(rows, FRAME_ROWS))


class Decision(NamedTuple):
    """The verdict on one criterion for one model, what it rests on, and the trials that decide it."""

    model: str
    verdict: Verdict
    before: Verdict | None
    basis: str
    meaning: str
    trials: list[tuple[str, Outcome, str]]


class Page:
    """Everything that the template of a report reads."""

    marks, verdict_marks, words, max_tries = OUTCOME_MARKS, VERDICT_MARKS, VERDICT_WORDS, MAX_TRIES

    def __init__(
        self, evidence: Evidence, comparison: Comparison | None, before: Evidence | None, charts: str = "all"
    ) -> None:
        self.evidence, self.comparison, self.before = evidence, comparison, before
        self.criteria = CRITERIA
        self.assessment = assessment(evidence)
        self.left_out = CHARTS[charts]
        self._charts = charts
        self.distributions = distribution_plots(evidence.distributions if charts == "all" else ())
        self.depth = by_depth(evidence.tables if charts == "all" else ())
        self._before = {each.name: each.case.result for each in before.cases} if before else {}

    def decisions(self, line: CriterionRecord) -> Iterator[Decision]:
        """The verdict on one criterion for every model."""
        for model, verdict in line.verdicts.items():
            support = self.evidence.support_on(line.id, model)
            found = [(record.name, subject.outcome) for record, subject in self.evidence.deciding(line.id, model)]
            trials = _linked(found)
            before = self.before
            was = before.verdict_on(line.id, model) if before and model in before.asked_of(line.id) else None
            meaning = SUPPORT_WORDS[support] if support else ""
            yield Decision(model, verdict, was, line.basis[model], meaning, trials)

    def tries(self, criterion: str) -> list[tuple[str, Verdict, list[tuple[str, Outcome, str]]]]:
        """The verdict by the protocol that was asked for, for every model, with the tries that count; else nothing."""
        found = by_protocol(self.evidence).get(criterion)
        return [(model, v, _linked(found.tries[model].items())) for model, v in found.verdicts.items()] if found else []

    @property
    def controls(self) -> dict[str, str]:
        """The controls of the report that are known, with what each keeps and what it does not."""
        arms = {name.partition(".")[0] for each in self.evidence.cases for name in each.case.result.arms}
        return {name: text for name, text in self.evidence.controls.items() if name in arms}

    def problems(self) -> Iterator[tuple[Outcome, list[ShownCase]]]:
        """The cases that failed, broke or proved nothing, by outcome."""
        for outcome in (Outcome.FAIL, Outcome.ERROR, Outcome.VACUOUS):
            found = [ShownCase(each, "", "", [], []) for each in self.evidence.cases if each.case.outcome is outcome]
            if found:
                yield outcome, found

    def changes(self) -> Iterator[tuple[CaseState, list[tuple[ComparedCase, str]]]]:
        """The cases whose state is listed one by one, regressions first; each with the id of its part of the page."""
        shown = {each.name for each in self.evidence.cases}
        for state in STATE_COLOURS:
            entries = self.comparison.of(state) if self.comparison else []
            if entries:
                yield state, [(entry, anchor(entry.case) if entry.case in shown else "") for entry in entries]

    def trials_of(self, criterion: str) -> list[tuple[TrialRecord, str, list[ShownCase]]]:
        """Every trial of a criterion with its id, and its cases on models to which it applies."""
        cases: dict[int, list[ShownCase]] = {}
        for each in self.evidence.cases:
            if each.record.trial.criterion == criterion and not each.subject.not_applicable:
                cases.setdefault(id(each.record), []).append(self._shown(each))
        records = self.evidence.of_criterion(criterion)
        return [(record, anchor(record.name), cases[id(record)]) for record in records if id(record) in cases]

    def not_applicable(self, criterion: str) -> list[tuple[str, str, list[tuple[str, str]]]]:
        """The model, the reason, and the names with ids of the cases of a criterion that do not apply."""
        found = cases_not_applicable(self.evidence.cases_of(criterion))
        return [(*key, [(name, anchor(f"{name} on {key[0]}")) for name in names]) for key, names in found.items()]

    def _shown(self, each: RecordedCase) -> ShownCase:
        commands = reproduce_command(self.evidence, each), neurons_command(self.evidence, each)
        if self._charts == "none" or (self._charts == "primary" and not each.record.trial.primary):
            return ShownCase(each, *commands, [], [])
        result, model = each.case.result, each.subject.model
        return ShownCase(
            each, *commands, dot_plots(result, model, self._before.get(each.name)), line_plots(result, model)
        )


def _linked(found: Iterable[tuple[str, Outcome]]) -> list[tuple[str, Outcome, str]]:
    """The names of trials and their outcomes, with the id of each on the page."""
    return [(name, outcome, anchor(name)) for name, outcome in found]

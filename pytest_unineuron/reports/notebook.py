"""The report as a Jupyter notebook, the second file of the protocol: its outputs are stored, and it can be run again.

It follows the protocol of MechEvalAgent (arXiv 2602.18458): notes on each criterion, failed trials and missing
evidence, the checklist, and a closing assessment. The notebook format is simple and stable (nbformat 4), so the file
is written without a library.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from pytest_unineuron.evidence.criteria import CRITERIA
from pytest_unineuron.evidence.strict_json import parse_json, to_json, to_json_line
from pytest_unineuron.evidence.summary import report_data
from pytest_unineuron.reports import notebook_cells as cells
from pytest_unineuron.reports.markdown import escape_markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_unineuron.evidence.records import Evidence

Cell = dict[str, Any]
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
INTRODUCTION = """# Generalization evaluation

Do universal neurons generalize? Every cell below reads `{report}` in the same folder, and nothing else: it needs
neither a model nor the package that wrote it. The outputs are those of the run; run all cells to make them again.

PASS supports a criterion and FAIL counts against it. A trial is VACUOUS if a control, such as an untrained model,
passes it too: units outside of the finding would meet the criterion as well."""
LOAD = """import json
from collections import Counter
from pathlib import Path
from typing import Any

report = json.loads(Path("{report}").read_text(encoding="utf-8"))"""


def render_notebook(evidence: Evidence, report: str) -> str:
    """The notebook as JSON of nbformat 4.5; ``report`` is the name of the JSON report beside it."""
    data = parse_json(to_json_line(report_data(evidence)))  # what the cells will read
    part = f"\n\nThis run is a part of the suite: {escape_markdown(evidence.part)}." if evidence.part else ""
    made = list(_cells(data, report, INTRODUCTION.format(report=report) + part))
    for number, cell in enumerate(made):
        cell["id"] = f"cell-{number}"
    code = [cell for cell in made if cell["cell_type"] == "code"]
    for count, cell in enumerate(code, start=1):
        cell["execution_count"] = count
    return to_json({"cells": made, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5})


def _cells(data: dict[str, Any], report: str, introduction: str) -> Iterator[Cell]:
    keys = {id_: criterion.key for id_, criterion in CRITERIA.items()}
    yield _markdown(introduction)
    yield _code("\n\n\n".join([LOAD.format(report=report), _constant("NOT_APPLICABLE"), *_sources(*HELPERS)]))
    yield _call(cells.describe_run, data)
    for id_, criterion in CRITERIA.items():
        new = id_ == next(iter(CRITERIA))  # functions are defined where they are called first
        yield _markdown(f"## {id_}: {criterion.title}\n\n{criterion.question}\n\n### Evaluation notes")
        yield _call(cells.evaluation_notes, data, id_, define=new)
        yield _markdown(f"### {id_}: failed trials")
        yield _call(cells.failed_trials, data, id_, define=new)
        yield _markdown(f"### {id_}: missing evidence")
        yield _call(cells.missing_evidence, data, id_, define=new)
    yield _markdown("## Checklist")
    yield _call(cells.checklist, data, keys)
    yield _markdown("## Closing assessment")
    yield _call(cells.closing_assessment, data)


HELPERS = (cells.one_line, cells.label, cells.does_not_apply, cells.cases_of, cells.list_cases)
"""The functions that the others call."""


def _sources(*functions: Callable[..., Any]) -> list[str]:
    return [inspect.getsource(function).rstrip() for function in functions]


def _constant(name: str) -> str:
    return f"{name} = {getattr(cells, name)!r}"


def _call(function: Callable[..., str], data: dict[str, Any], *arguments: Any, define: bool = True) -> Cell:
    """A cell that defines a function and prints what it returns for the report, with that text as its output."""
    given = ", ".join(["report", *map(repr, arguments)])
    source = "\n\n\n".join([*(_sources(function) if define else []), f"print({function.__name__}({given}))"])
    return _code(source, function(data, *arguments) + "\n")


def _code(source: str, printed: str = "") -> Cell:
    output = {"name": "stdout", "output_type": "stream", "text": _lines(printed)}
    return {"cell_type": "code", "metadata": {}, "source": _lines(source), "outputs": [output] if printed else []}


def _markdown(source: str) -> Cell:
    return {"cell_type": "markdown", "metadata": {}, "source": _lines(source)}


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)

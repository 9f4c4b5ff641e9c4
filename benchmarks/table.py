"""All answers, as a table for people and as JSON; what was measured earlier stays beside what is new."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from benchmarks.answer import Answer

TABLE, NUMBERS = "RESULTS.md", "results.json"
HEAD = """# What it costs

Made by `python -m benchmarks`; every table says with which command, when and on what. All rows of a table were measured
in turns, in one run. A number is the median; in brackets are the quartiles, or the least and the largest of fewer than
four. Ratios are made within a turn, and only they carry over to other machines.
"""


def write(folder: Path, answers: Iterable[Answer], made: Mapping[str, Any], order: Iterable[str]) -> None:
    """Write both files. Answers to other questions that the folder holds are kept, with how they were made."""
    numbers = folder / NUMBERS
    known = json.loads(numbers.read_text(encoding="utf-8")) if numbers.is_file() else {}
    known.update({answer.name: answer.as_dict() | {"made": dict(made)} for answer in answers})
    known = {name: known[name] for name in order if name in known}
    folder.mkdir(parents=True, exist_ok=True)
    numbers.write_text(json.dumps(known, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    (folder / TABLE).write_text(markdown(known), encoding="utf-8")


def markdown(answers: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole table, of answers as they are in JSON, by name."""
    return "\n".join([HEAD, *(section(answer) for answer in answers.values())])


def section(answer: Mapping[str, Any]) -> str:
    """One answer, as it is in JSON."""
    columns, made = answer["columns"], answer["made"]
    what = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    said = [all(isinstance(row[column], (str, type(None))) for row in answer["rows"]) for column in columns]
    lines = [
        f"## {answer['title']}",
        "",
        f"`{made['command']}`, {made['date']}, {made['device']}; {what}.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "|".join("---" if words_only else "--:" for words_only in said) + "|",
        *(
            "| " + " | ".join(words(row[column]).replace("|", "\\|") for column in columns) + " |"
            for row in answer["rows"]
        ),
        "",
    ]
    if answer["note"]:
        lines += [answer["note"], ""]
    return "\n".join(lines)


def words(cell: Any) -> str:
    """A cell as people read it."""
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, dict):
        if cell["low"] == cell["high"]:
            return _number(cell["median"])
        return f"{_number(cell['median'])} ({_number(cell['low'])}–{_number(cell['high'])})"
    return _number(cell)


def _number(value: float) -> str:
    if isinstance(value, int) or value == 0:
        return f"{value:,}".replace(",", " ")
    size = abs(value)
    if size < 0.005:
        return f"{value:.0e}"
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:,.{digits}f}".replace(",", " ")

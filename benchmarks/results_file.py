"""The results of all benchmarks as Markdown and as JSON; a run replaces those of the benchmarks it ran."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from benchmarks.result import BenchmarkResult

MARKDOWN, JSON = "RESULTS.md", "results.json"
INTRODUCTION = """# Benchmark results

Written by `python -m benchmarks`. Each table names its command, date, machine and versions. All rows of a table were
measured in one run, taking turns, and ratios are taken within a turn. A number is the median; brackets hold the
quartiles, or the minimum and maximum of fewer than four values. Ratios carry over to similar machines, seconds do not.

*Same products*: on processors with AVX-512 that are not Intel's, the plugin multiplies float32 matrices with oneDNN,
which is faster there than MKL, the library that torch chooses. So that a ratio shows the cost of measuring and not the
difference between libraries, it compares with a forward pass or a product by the same library. Where a ratio to
*torch's own products* is given as well, its column names the processor.
"""


def write_results(
    folder: Path, results: Iterable[BenchmarkResult], provenance: Mapping[str, Any], order: Iterable[str]
) -> None:
    """Write both files. Results of other benchmarks in the folder stay, each with its own provenance."""
    path = folder / JSON
    stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    stored.update({result.name: result.as_dict() | {"provenance": dict(provenance)} for result in results})
    stored = {name: stored[name] for name in order if name in stored}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(stored, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    (folder / MARKDOWN).write_text(render_results(stored), encoding="utf-8")


def render_results(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of RESULTS.md, from the data of results.json."""
    return "\n".join([INTRODUCTION, *map(render_result, results.values())])


def render_result(result: Mapping[str, Any]) -> str:
    """One result in Markdown, from its JSON data."""
    columns, provenance = result["columns"], result["provenance"]
    versions = ", ".join(f"{name} {version}" for name, version in provenance["versions"].items())
    only_words = [all(isinstance(row[column], (str, type(None))) for row in result["rows"]) for column in columns]
    lines = [
        f"## {result['title']}",
        "",
        f"`{provenance['command']}`, {provenance['date']}, {provenance['machine']}; {versions}.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "|".join("---" if words else "--:" for words in only_words) + "|",
    ]
    for row in result["rows"]:
        lines.append("| " + " | ".join(format_cell(row[column]).replace("|", "\\|") for column in columns) + " |")
    return "\n".join([*lines, "", *([result["note"], ""] if result["note"] else [])])


def format_cell(cell: Any) -> str:
    """A cell of JSON data as text: a median with its spread, a number, words, or a dash for nothing."""
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    if not isinstance(cell, dict):
        return _format_number(cell)
    if cell["low"] == cell["high"]:
        return _format_number(cell["median"])
    return f"{_format_number(cell['median'])} ({_format_number(cell['low'])}–{_format_number(cell['high'])})"


def _format_number(value: float) -> str:
    if isinstance(value, int) or value == 0:
        return f"{value:,}".replace(",", " ")
    size = abs(value)
    if size < 0.005:
        return f"{value:.0e}"
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:,.{digits}f}".replace(",", " ")

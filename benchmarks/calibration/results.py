"""The results of a calibration while it runs: a file with one line per model, to which every run adds."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE = "results.jsonl"


def read(work: Path, suite: str) -> dict[str, dict[str, Any]]:
    """The results of a suite, named by its digest, by model. Those of another suite are left out."""
    path = work / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = []
    for line in lines:
        with contextlib.suppress(json.JSONDecodeError):  # a line that was cut off when the run was stopped
            found.append(json.loads(line))
    return {each["name"]: each for each in found if each["suite"] == suite}


def append(work: Path, suite: str, records: Iterable[dict[str, Any]]) -> None:
    """Add the results of some models."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / FILE).open("a", encoding="utf-8") as file:
        # Lines begin with their break, so that none continues a line that was cut off.
        file.writelines("\n" + json.dumps({"suite": suite, **each}, ensure_ascii=False) for each in records)

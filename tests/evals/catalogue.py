"""The table of trials in evals/README.md."""

import re
from pathlib import Path
from typing import NamedTuple

EVALS = Path(__file__).parents[2] / "evals"


class Entry(NamedTuple):
    """What the table says of one trial."""

    primary: bool
    controls: list[str]
    support: str


def catalogue():
    """The entry of every trial, by the name of its function."""
    text = (EVALS / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`(\*?) \|.*\| ([N\d ]+) \| (\w+) \| [^|]* \|$", text, re.MULTILINE)
    return {name: Entry(bool(star), controls.split(), support) for name, star, controls, support in rows}

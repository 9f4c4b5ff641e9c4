"""The table of trials in evals/README.md."""

import re
from pathlib import Path

EVALS = Path(__file__).parents[2] / "evals"


def catalogue():
    """The controls of every trial (``["N0", "N1"]``), by the name of its function."""
    text = (EVALS / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`\*? \|.*\| ([N\d ]+) \| [^|]* \|$", text, re.MULTILINE)
    return {name: named.split() for name, named in rows}

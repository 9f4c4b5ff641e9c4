"""What the names in a configuration do not say: one row, with a reason, in exceptions.csv.

A value is JSON. "$neurons" stands for what Shape calls neurons, "$derived" for an attribute that is left to the
configuration's class. An attribute that begins with a colon is about the truth, not about the configuration:
":neurons" is a pattern of the paths that read neurons though their widths or their places do not tell it.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def _table() -> dict[tuple[str, str], dict[str, Any]]:
    table: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    lines = files(__package__).joinpath("exceptions.csv").read_text(encoding="utf-8").splitlines()
    for row in csv.DictReader(lines):
        table[row["mapping"], row["model_type"]][row["attribute"]] = json.loads(row["value"])
    return dict(table)


def rows(mapping: str, model_type: str) -> dict[str, Any]:
    """The value of every attribute that has a row for this model type, in this mapping or in all of them."""
    table = _table()
    return {**table.get(("*", model_type), {}), **table.get((mapping, model_type), {})}

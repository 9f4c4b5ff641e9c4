"""Values of configuration attributes that their names do not determine: rows of exceptions.csv, with a reason each.

A value is JSON. "$neurons" and the like stand for that size of ``TinyShape``; "$derived" for an attribute that the
class of the configuration computes. The attribute ":neurons" is no attribute of the configuration but a pattern of
parameter paths that read neurons although neither their widths nor their places identify them.
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


def exceptions_for(mapping: str, model_type: str) -> dict[str, Any]:
    """The values of a model type by attribute, in this mapping or, with the mapping ``*``, in all of them."""
    table = _table()
    return {**table.get(("*", model_type), {}), **table.get((mapping, model_type), {})}

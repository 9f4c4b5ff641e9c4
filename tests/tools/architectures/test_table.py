"""TABLE.md agrees with itself, with the page on neurons, and with the installed transformers."""

import re
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pytest

from tools.architectures.shrink import entries

TABLE = files("tools.architectures").joinpath("TABLE.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (causal|masked|seq2seq) \| (\S+) \| ([\w ]+?) \|", TABLE, re.MULTILINE)
PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "neurons.md"


def test_the_counts_above_the_table_are_those_of_its_rows():
    outcomes = [outcome for *_, outcome in ROWS]
    assert f"{len(ROWS)} entries, {len(ROWS) - outcomes.count('not built')} built" in TABLE
    assert f"{outcomes.count('complete')} complete and verified, 0 partial, {outcomes.count('failed')} failed" in TABLE


def test_the_page_has_the_counts_and_the_version_of_the_table():
    """At least 265 of the 270 architectures with an MLP are complete."""
    complete = [outcome for *_, outcome in ROWS].count("complete")
    assert complete >= 265
    text = PAGE.read_text(encoding="utf-8")
    assert f"| causal, masked and sequence-to-sequence mappings | 273 of {len(ROWS)} | 270 | {complete} |" in text
    assert re.search(r"transformers (\d+\.\d+)", text)[1] == re.search(r"with transformers (\d+\.\d+)", TABLE)[1]


def test_the_table_has_exactly_the_entries_of_this_transformers():
    made_with = re.search(r"with transformers ([\d.]+)", TABLE)[1]
    if made_with != version("transformers"):
        pytest.skip(f"the table was made with transformers {made_with}; run python -m tools.architectures")
    assert {(mapping, model_type) for mapping, model_type, _ in ROWS} == {
        (entry.mapping, entry.model_type) for entry in entries()
    }

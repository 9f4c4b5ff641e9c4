"""README, and pages that state by hand what the package declares."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from pytest_unineuron.baseline.gate import ExitStatus
from pytest_unineuron.options.settings import OPTIONS
from pytest_unineuron.plugin.fixture_table import FIXTURES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (
    'python -m venv .venv && . .venv/bin/activate && pip install -c constraints.txt -e ".[test]" && '
    "pytest evals/ --unineuron-fail-on=never",
    "pytest tests/ -n 2",
)
LINK = re.compile(r"\]\((?!https?://)([^)#]+)")


PAGES = sorted(ROOT.glob("docs/**/*.md"))


@pytest.fixture(scope="module")
def tables():
    """The module that makes the tables of the reference."""
    spec = spec_from_file_location("docs_tables", ROOT / "docs" / "tables.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_is_short_and_has_one_picture():
    """At most 700 words, and a picture of at most 150 kB that is there."""
    assert len(README.split()) <= 700
    (picture,) = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert (ROOT / picture).stat().st_size <= 150_000


def test_readme_has_the_two_commands():
    """Each is a line of its own, as it is typed; the tutorial has the first as well."""
    assert set(COMMANDS) <= set(README.splitlines())
    assert COMMANDS[0] in (ROOT / "docs" / "tutorial" / "first-run.md").read_text(encoding="utf-8").splitlines()


def test_files_that_readme_links_to_exist():
    """Links of other pages are checked by Sphinx."""
    links = LINK.findall(README)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_page_of_exit_statuses_has_all_of_them():
    """Those of pytest that a run can end with, and ours."""
    page = (ROOT / "docs" / "reference" / "exit-statuses.md").read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| ([\d, ]+) \|", page, re.MULTILINE)
    assert [int(number) for cell in first_cells for number in cell.split(",")] == [*range(6), *sorted(ExitStatus)]


def test_generated_tables_have_every_row(tables):
    """A made-up example of each would be wrong in a page by hand."""
    assert [option.name for option in OPTIONS if f"| `{option.name}` |" not in tables.options()] == []
    assert [name for name in FIXTURES if f"| `{name}` |" not in tables.fixture_table()] == []
    assert all(f"## {name}" in tables.schema() for name in ("trial", "measurement", "contrast"))


def test_every_generated_table_is_on_a_page(tables):
    """And every name in braces, or in a comment, is that of a table."""
    pages = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert set(re.findall(r"^\{\{ (\w+) \}\}$", pages, re.MULTILINE)) == set(tables.LONG)
    assert {name for name, _ in tables.PLACE.findall(pages)} == set(tables.SHORT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_short_tables_are_those_of_the_package(tables, page):
    """``python docs/tables.py`` writes them."""
    text = page.read_text(encoding="utf-8")
    assert text == tables.filled(text)

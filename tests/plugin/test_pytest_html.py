"""Figures in the report of pytest-html: those of a model beside its controls, and nothing without the plugin."""

import html
import json
import re

import pytest

from tests.plugin.inner import HOLDS, ONE

PLUGIN = ("-p", "html", "-p", "html_fixtures", "-p", "metadata", "--html=tests.html", "--self-contained-html")


def extras_of(path):
    """The HTML that was added to the row of each test, by node id."""
    blob = re.search(r'data-jsonblob="(.*?)"', path.read_text(encoding="utf-8"))[1]
    rows = json.loads(html.unescape(blob))["tests"]
    return {name.rpartition("::")[2]: [extra["content"] for extra in runs[0]["extras"]] for name, runs in rows.items()}


def test_the_figure_of_a_trial_is_an_extra_of_its_item(trials):
    """It has the control, which ran later; the item of the control has none, and extras of others stay."""
    pytest.importorskip("pytest_html")
    body = HOLDS.replace("(unineuron_case):", "(unineuron_case, extras):\n    extras.append(dict(THEIRS))")
    theirs = "from pytest_html.extras import text\nTHEIRS = text('theirs')\n"
    assert trials.write(theirs + body).run(*ONE, *PLUGIN).ret == 0
    found = extras_of(trials.path / "tests.html")
    _, figure = found["test_good[neox-a]"]
    shown = html.unescape(figure)
    assert re.search(r"<th scope=\"row\">untrained</th>.*?<td>0\.1</td>", shown, re.DOTALL)
    assert re.search(r"<th scope=\"row\">neox-a</th>.*?<td>0\.9</td>", shown, re.DOTALL)
    assert len(found["test_good[neox-a~untrained]"]) == 1


def test_the_plugin_works_without_it(trials):
    """Where pytest-html is not loaded, a run is the same and has no other file."""
    found = trials.write(HOLDS).run(*ONE)
    assert found.outcome("good") == "PASS"
    assert "html" not in " ".join(path.name for path in trials.path.glob("*"))

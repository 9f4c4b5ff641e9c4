"""The page of a run: what it says first, its links, text from outside, its size, and how a browser shows it."""

import re
from html.parser import HTMLParser

import pytest

from pytest_unineuron.baseline.comparison import compare
from pytest_unineuron.cli.main import main
from pytest_unineuron.evidence.layer_table import LayerTable
from pytest_unineuron.evidence.outcome import NOT_APPLICABLE, ArmResult, Outcome
from pytest_unineuron.evidence.strict_json import add_digest, to_json
from pytest_unineuron.reports import page, write
from pytest_unineuron.reports.page import anchor, fact_text, render_page
from tests.evidence.made import arm, distribution, evidence, share
from tests.evidence.test_saved import of_schema_5
from tests.reports.test_charts import compared

SCRIPT, LONG, ARABIC = "<script>alert(1)</script>", "n" * 10_000, "\u202eعصبونات \u2067عامة"
HOSTILE = (SCRIPT, LONG, ARABIC, "\"'><img src=https://example.org/x onerror=alert(1)>", "{{ 7 * 7 }}", "\0\ud800")


class Parsed(HTMLParser):
    """The tags, ids, targets of links, and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.text += " " * (tag == "td")
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        assert not any(name.startswith("on") or name == "src" for name in found)

    def handle_data(self, data):
        self.text += data


def words(text):
    return " ".join(Parsed(text).text.split())


PASSING = {("heavy", "news", "m"): arm(share(0.9, error=0.01)), ("dense", "", "m"): arm(share(0.1))}


def hostile_run():
    cases = {(text, text, text): arm(share(0.9, name=text), reason=text) for text in HOSTILE}
    facts = {text: {text: text} for text in HOSTILE}
    found = tuple(distribution(corpus=text, control=text, model=text) for text in HOSTILE)
    tables = tuple(LayerTable(text, text, "", 1, "partners", (text,), ((0, text),)) for text in HOSTILE)
    return evidence(
        cases,
        distributions=found,
        tables=tables,
        models=facts,
        corpora=facts,
        incomplete=HOSTILE,
        violations=HOSTILE,
    )


def test_it_opens_with_the_verdict_on_each_criterion():
    """Each has a sentence with what it rests on and a link to the trials that decide it."""
    text = render_page(evidence({("heavy", "news", "m"): arm(share(0.9))}, primary=True))
    shown = words(text)
    start = shown.index("GT2 Does it hold on text nobody measured it on? ✓ supported")
    sentence = (
        "m: ✓ supported, signature, universality not tested: only what universal neurons look like was tested, not "
        "whether other seeds have them. Decided by heavy[news] ✓ PASS."
    )
    assert sentence in shown[start:]
    assert start < shown.index("Trials A filled dot")


def test_the_verdict_by_the_protocol_stands_beside_ours():
    """It has its own verdict, and links to the tries that count, only where it was asked for."""
    assert "By the protocol" not in words(render_page(evidence(PASSING)))
    asked = render_page(evidence({**PASSING, ("left_out", "", "m"): None}, settings={"protocol": "mechevalagent"}))
    shown = words(asked)
    assert "m: ✗ not supported, signature" in shown
    title = "By the protocol mechevalagent (at most 3 tries, one success):"
    assert f"{title} m: ✓ supported. Tried: heavy[news] ✓ PASS, dense ✗ FAIL. GT3" in shown
    assert shown.count("By the protocol") == 1
    assert Parsed(asked).links.count(f"#{anchor('dense')}") > Parsed(asked).links.count(f"#{anchor('left_out')}")


def test_a_trial_on_neurons_names_the_command_that_lists_them():
    """Another trial has none."""
    run = evidence({("heavy", "news", "m"): arm(share(0.9, name="share with kurtosis above 9"))})
    assert "pytest-unineuron neurons m --by=kurtosis --corpus=news" in words(render_page(run))
    assert "The neurons behind it" not in words(render_page(evidence(PASSING)))


def test_what_failed_is_listed_with_its_reason_before_the_trials():
    """The failed trial and the vacuous one are linked; the one that passed is not in the list."""
    cases = {**PASSING, ("empty", "", "m"): arm(share(0.9))}
    shown = words(render_page(evidence(cases, control=arm(share(0.2)))))
    problems = shown[shown.index("Trials that failed or prove nothing") : shown.index("Trials A filled dot")]
    assert "dense on m: missed: share = 0.1, claimed > 0.5" in problems
    assert "heavy" not in problems


def test_it_says_what_each_of_its_controls_keeps():
    """In the words of the report, and of those controls alone that it has."""
    shown = words(render_page(evidence(PASSING, controls={"untrained": "keeps hope", "shuffled": "keeps fear"})))
    assert "keeps hope" in shown
    assert "keeps fear" not in shown


def test_a_report_of_an_earlier_schema_is_shown(tmp_path):
    """With the numbers that it has."""
    old = add_digest(of_schema_5(evidence({("heavy", "news", "m"): arm(share(0.9))})))
    path = tmp_path / "old.json"
    path.write_text(to_json(old), encoding="utf-8")
    assert main(["report", str(path), "--html", str(tmp_path / "old.html")]) == 0
    assert "m 0.9" in words((tmp_path / "old.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("run", [evidence(PASSING), hostile_run(), evidence({})], ids=["plain", "hostile", "empty"])
def test_every_link_has_a_target_and_every_id_is_given_once(run):
    """Every case has an id of its own."""
    parsed = Parsed(render_page(run))
    assert sorted(set(parsed.ids)) == sorted(parsed.ids)
    assert {link.removeprefix("#") for link in parsed.links} <= set(parsed.ids)
    assert {anchor(each.name) for each in run.cases} <= set(parsed.ids)


def test_facts_are_written_in_words():
    """Whatever is nested in them; what is empty is a dash."""
    verified = {"W h = y": {"sites": 4, "error": 1e-7}, "act": {}}
    assert fact_text(verified) == "W h = y (sites 4; error 1e-07); act (–)"
    assert fact_text(["one", 2, None]) == "one, 2, –"
    assert [fact_text(empty) for empty in ([], {}, "", None)] == ["–"] * 4


def test_a_trial_that_does_not_apply_has_an_anchor():
    """It is one line with its reason."""
    run = evidence({("heads", "", "m"): ArmResult(Outcome.NA, "no heads", notes=(NOT_APPLICABLE,))})
    parsed = Parsed(render_page(run))
    assert anchor("heads on m") in parsed.ids
    assert "Does not apply to m (no heads): heads." in " ".join(parsed.text.split())


def test_text_from_outside_is_shown_as_text():
    """Nothing of it becomes a tag, an attribute or an expression of the template."""
    parsed = Parsed(render_page(hostile_run()))
    assert parsed.tags.count("script") == 1
    assert not {"img", "iframe", "object", "form"} & set(parsed.tags)
    assert all(text.replace("\0", "") in parsed.text.replace("\0", "") for text in HOSTILE)


def test_the_page_names_no_address_outside():
    """No script, style, picture or link is loaded from anywhere."""
    assert not re.search(r"""(?:src|href)=["']?(?!["'#]|data:)|@import|url\(""", render_page(evidence(PASSING)))


def test_changes_are_listed_with_regressions_first():
    """The earlier outcome, verdict and number are beside the present ones."""
    before = evidence({**PASSING, ("dense", "", "m"): arm(share(0.8))})
    after = evidence({**PASSING, ("new", "", "m"): arm(share(0.9))})
    shown = words(render_page(after, compare(before, after), before))
    assert "dense on m: ✓ PASS → ✗ FAIL" in shown
    assert shown.index("regressed") < shown.index("new on m")
    assert "m: ✗ not supported (before: supported)" in shown
    assert "m, before 0.8" in shown


def test_a_page_that_would_be_too_large_says_what_it_leaves_out(monkeypatch):
    """Charts of primary trials go last, and the text stays."""
    run = evidence(PASSING)
    whole = render_page(run)
    assert "left out" not in whole
    monkeypatch.setattr(page, "MAX_BYTES", len(whole.encode()) - 1)
    assert "tables by layer and charts of trials that are not primary were left out" in render_page(run)
    monkeypatch.setattr(page, "MAX_BYTES", 1000)
    assert "Charts were left out" in render_page(run)
    assert anchor("heavy[news] on m") in Parsed(render_page(run)).ids


def test_distributions_have_a_section_that_goes_first_when_the_page_is_too_large(monkeypatch):
    """The model stands beside its controls, over all layers and in each; a run without them has no section."""
    found = [distribution(corpus=corpus, control=arm) for corpus in ("news", "prose") for arm in ("", "untrained")]
    shown = words(render_page(evidence(PASSING, distributions=tuple(found))))
    assert "Kurtosis of the pre-activation on news m 3 [1.5, 6] untrained 3 [1.5, 6]" in shown
    assert "Kurtosis of the pre-activation on prose, by layer" in shown
    without = render_page(evidence(PASSING))
    assert "How the neurons are distributed" not in words(without)
    monkeypatch.setattr(page, "MAX_BYTES", len(without.encode()) + 200)
    small = words(render_page(evidence(PASSING, distributions=tuple(found))))
    assert "Distributions over neurons and tables by layer were left out" in small
    assert "How the neurons are distributed" not in small


def test_commands_write_pages_of_saved_files(tmp_path, capsys):
    """``report --html`` and ``compare --html`` print where the page is."""
    for name, value in (("a", 0.9), ("b", 0.1)):
        assert write.write_reports(evidence({("heavy", "", "m"): arm(share(value))}), tmp_path / name) == []
    a, b = (str(tmp_path / name / write.REPORT) for name in "ab")
    html = tmp_path / "page.html"
    assert main(["report", b, "--html", str(html)]) == 0
    assert html.read_text(encoding="utf-8") == (tmp_path / "b" / write.PAGE).read_text(encoding="utf-8")
    assert main(["compare", a, b, "--html", str(html)]) == 0
    assert "heavy on m: ✓ PASS → ✗ FAIL" in words(html.read_text(encoding="utf-8"))
    assert f"Written: {html}" in capsys.readouterr().out
    assert main(["report", b, "--html", str(tmp_path)]) == 4
    assert "cannot be written" in capsys.readouterr().err


def run_of_units():
    profile = tuple((layer, 0.5) for layer in range(48))
    found = tuple(distribution(control=arm, layers=48) for arm in ("", "untrained"))
    cases = {**PASSING, ("units", "", "m"): arm(compared(0.5, profile))}
    return evidence(cases, control=arm(compared(0.9, profile)), distributions=found)


@pytest.mark.parametrize("run", [run_of_units(), hostile_run()], ids=["plain", "hostile"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_it_without_an_error(visit, run, width, scheme):
    """Nothing is wider than the window with everything unfolded, no request leaves, and the console stays empty."""
    tab, events = visit(render_page(run), width, scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    tab.evaluate("document.querySelectorAll('section').forEach(each => { each.style.contentVisibility = 'visible' })")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert events == []


def test_the_filter_hides_what_is_left_out(visit):
    """A box hides trials of an outcome; a text hides those of other names."""
    tab, events = visit(render_page(evidence(PASSING)), 1280)
    assert tab.locator(".case:visible").count() == 2
    tab.locator("input[value=FAIL]").uncheck()
    assert tab.locator(".case:visible").count() == 1
    tab.locator("[type=search]").fill("nothing of this name")
    assert tab.locator("section.trial:visible").count() == 0
    assert events == []

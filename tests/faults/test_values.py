"""Hostile values and names that trials pass to ``measure``."""

import pytest

from tests.faults.three import MEASURES, ONE, outcomes, write

pytestmark = pytest.mark.fault


@pytest.mark.parametrize(
    ("body", "outcome", "reason"),
    [
        ("measure('size', 10**400, above=0.5)", "ERROR", ""),
        ("measure('size', 0.9, above=float('nan'))", "ERROR", "finite number"),
        ("measure('size', 0.1, interval=(0.8, 0.9), above=0.5)", "NA", ""),
        ("measure('size', 0.1, above=0.5)\nmeasure('size', 0.9, above=0.5)", "FAIL", "missed: size = 0.1"),
    ],
)
def test_a_value_that_is_not_evidence_never_passes(trials, body, outcome, reason):
    body = f"if unineuron_case.control:\n    {MEASURES}\n    return\n{body}"
    found = write(trials, body).run(*ONE)
    assert outcomes(found) == f"PASS {outcome} PASS"
    assert reason in found.reason("here")


def test_hostile_names_are_escaped_in_terminal_and_markdown(trials):
    """The names have a lone surrogate, a control sequence, a NUL, commands of GitHub, headings and tags."""
    name = r"a\ud800\nINCOMPLETE: forged\n::error::forged\x1b[2J\0"
    more = r'unit="x\n::error::forged", note="\n## forged\n<script>alert(1)</script>"'
    found = write(trials, f'measure("{name}", value, {more}, above=0.5)').run(*ONE)
    assert (found.ret, outcomes(found)) == (0, "PASS PASS PASS")
    printed = found.result.stdout.str()
    assert "\x1b[2J" not in printed
    markdown = (trials.path / "evaluation" / "generalization_eval_report.md").read_text(encoding="utf-8")
    assert "<script>" not in markdown
    forged = ("INCOMPLETE: forged", "::error::forged", "## forged")
    assert not [line for line in (printed + markdown).splitlines() if line.startswith(forged)]


@pytest.mark.parametrize(
    "body",
    [
        'for n in range(10_000): measure(f"size {n}", value, above=0.5)',
        "raise ValueError('line\\n' * 100_000)",
    ],
    ids=["measurements", "message"],
)
def test_the_terminal_stays_readable_with_very_many_or_long_texts(trials, body):
    found = write(trials, body).run(*ONE, "--tb=no", "-rN")
    assert found.outcome("before") == found.outcome("after") == "PASS"
    assert found.outcome("here") == ("ERROR" if "raise" in body else "PASS")
    assert len(found.result.stdout.str()) < 1_000_000
    assert max(map(len, found.result.outlines)) < 10_000


def test_a_measurement_in_another_thread_is_an_error(trials):
    body = "import threading\nt = threading.Thread(target=lambda: measure('size', 9, above=0.5))\nt.start(); t.join()"
    found = write(trials, body).run(*ONE)
    assert outcomes(found) == "PASS ERROR PASS"


def test_a_measurement_into_the_recorder_of_another_trial_changes_no_result(trials):
    body = "kept.append(unineuron_measure)\nkept[0]('size', value, above=0.5)"
    found = write(trials, body, fixtures="unineuron_case, unineuron_measure", setup="kept = []").run(*ONE)
    assert outcomes(found) == "PASS NA PASS"

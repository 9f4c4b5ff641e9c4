"""The outcomes of trials, for all ways in which the body of a trial can end."""

import pytest

from tests.plugin.inner import HOLDS, ONE, WORKERS

BODY = """
@pytest.mark.gt1(source="test")
def test_claim(unineuron_case, unineuron_measure):
    \"\"\"A claim.\"\"\"
    {body}
"""
CLAIM = "measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)"


CONTROLS = [f"--unineuron-controls={name}" for name in ("untrained", "reinitialised", "shuffled")]


def run(trials, body, *args, marks="", more=""):
    text = BODY.format(body=body.replace("\n", "\n    "))
    return trials.write(text.replace("@pytest.mark.gt1", f"{marks}\n@pytest.mark.gt1", 1) + more).run(*CONTROLS, *args)


def test_a_claim_that_holds_and_whose_controls_miss_passes(trials):
    """One subject holds and three controls miss the bound, so the trial passes."""
    found = run(trials, CLAIM)
    found.result.assert_outcomes(passed=4)
    assert found.outcome("claim") == "PASS"
    assert {a: arm["standing"] for a, arm in found.arms("claim").items()} == {
        "untrained": "missed",
        "reinitialised": "missed",
        "shuffled": "missed",
    }
    assert found.summary["Checklist"]["GT1_ModelGeneralization"] == "PASS"


def test_a_missed_bound_fails_with_its_values_on_one_line(trials):
    """There is no traceback, since nothing broke."""
    found = run(trials, "measure('size', 0.125, above=0.5)\nmeasure('other', 3, below=2)")
    assert found.ret == 1
    assert found.outcome("claim") == "FAIL"
    found.result.stdout.fnmatch_lines(["missed: size = 0.125, claimed > 0.5; other = 3, claimed < 2"])
    found.result.stdout.no_fnmatch_line("*Traceback*")
    found.result.stdout.no_fnmatch_line("*def test_claim*")


def test_a_claim_that_a_control_shows_too_is_vacuous(trials):
    """All items pass, the last line counts it apart, and the verdict of the criterion is NA."""
    found = run(trials, "measure('size', 0.9, above=0.5)")
    found.result.assert_outcomes(passed=3)
    assert ", 1 vacuous in " in found.result.outlines[-1]
    assert found.ret == 0
    assert found.outcome("claim") == "VACUOUS"
    assert found.summary["Checklist"]["GT1_ModelGeneralization"] == "NA"
    found.result.stdout.fnmatch_lines(["VACUOUS (1): *", "  claim: neox-a (untrained, *)"])


@pytest.mark.parametrize(
    ("body", "outcome", "reason"),
    [
        ("assert not 'a reason', 'my words'", "FAIL", "asserted: my words"),
        ("raise KeyError('lost')", "ERROR", "KeyError: 'lost'"),
        ("pass", "ERROR", "nothing was judged: call measure"),
        ("measure('size', 0.9)", "ERROR", "nothing was judged: call measure"),
        ("measure('size', 'big', above=0)", "ERROR", "str is not one number"),
        ("measure('size', float('nan'), above=0)", "NA", "undefined: size"),
        ("measure('size', float('inf'), above=0)", "NA", "undefined: size"),
        ("measure('size', 0.5, above=0.5)", "NA", "too close to call"),
        ("measure('size', 0.6, interval=(0.4, 0.8), above=0.5)", "NA", "too close to call: size = 0.6 [0.4, 0.8]"),
        ("pytest.skip('no such thing')", "NA", "no such thing"),
        ("pytest.fail('by hand')", "FAIL", "by hand"),
    ],
)
def test_a_body_that_does_not_pass_has_a_reason(trials, body, outcome, reason):
    """Each ending has an outcome and a reason, and none is a PASS."""
    found = run(trials, body, more=HOLDS.replace("gt1", "gt3"))
    assert found.outcome("claim") == outcome
    assert reason in found.reason("claim")
    assert found.summary["Checklist"]["GT1_ModelGeneralization"] in ("NA", "FAIL")


def test_an_error_in_a_fixture_is_an_error(trials):
    """The outcome is ERROR for setup and for teardown, although the claim holds."""
    text = """
@pytest.fixture
def broken():
    {first}
    yield
    {last}

@pytest.mark.gt1(source="test")
def test_claim(broken, unineuron_case):
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
"""
    found = trials.write(text.format(first="raise RuntimeError('at setup')", last="pass") + HOLDS).run()
    assert found.outcome("claim") == "ERROR"
    assert "at setup" in found.reason("claim")
    found = trials.write(text.format(first="pass", last="raise RuntimeError('at teardown')")).run()
    assert found.outcome("claim") == "ERROR"
    assert "at teardown" in found.reason("claim")
    assert found.trial("claim")["subjects"]["neox-a"]["cases"][0]["subject"]["measurements"]


@pytest.mark.parametrize(
    ("fixture", "meant"), [("neurons", "unineuron_neurons"), ("unineuron_mesure", "unineuron_measure")]
)
def test_a_fixture_that_does_not_exist_is_named_with_one_that_does(trials, fixture, meant):
    """Short names are those of evals/ alone."""
    found = trials.write(f"""
@pytest.mark.gt1(source="test", controls=["untrained"])
def test_claim({fixture}):
    \"\"\"A claim.\"\"\"
""").run()
    text = " ".join(found.result.stdout.str().split())
    assert f"claim on neox-a: setup: there is no fixture '{fixture}' here; did you mean {meant}?" in text


def test_a_shared_fixture_that_does_not_apply_applies_to_no_item(trials):
    """pytest keeps what a fixture of the session raised; a minimum may be asked for in a fixture too."""
    text = """
from pytest_unineuron.errors import NotApplicable

@pytest.fixture(scope="session")
def nowhere():
    raise NotApplicable("no such thing here")

@pytest.fixture
def powered(unineuron_measure):
    unineuron_measure.needs("tokens", 3, at_least=10)
"""
    body = """
@pytest.mark.gt1(source="test", controls=["untrained"])
def test_{0}({1}, unineuron_measure):
    unineuron_measure("size", 1.0, above=0.5)
"""
    names = (("a", "nowhere"), ("b", "nowhere"), ("c", "powered"))
    found = trials.write(text + "".join(body.format(*each) for each in names)).run()
    assert [found.outcome(name) for name in "abc"] == ["NA"] * 3
    assert [found.reason(name) for name in "ab"] == ["no such thing here"] * 2
    assert found.reason("c") == "underpowered: 3 tokens, needs 10"


def test_a_minimum_that_is_not_met_is_na(trials):
    """The reason states the number and the minimum."""
    body = "from pytest_unineuron.evidence.recorder import Recorder"
    text = f"""
@pytest.mark.gt1(source="test")
def test_claim(unineuron_measure):
    {body}
    unineuron_measure.needs("tokens", 900, at_least=4000)
    unineuron_measure("size", 1.0, above=0.5)
"""
    found = trials.write(text).run()
    assert found.outcome("claim") == "NA"
    assert found.reason("claim") == "underpowered: 900 tokens, needs 4000"


def test_an_expected_failure_does_not_fail_the_run(trials):
    """A trial marked xfail is a FAIL and the run succeeds. Its controls pass, also under xfail_strict."""
    body = "measure('size', 0.1, above=0.5)"
    found = run(trials, body, "-o", "xfail_strict=true", marks="@pytest.mark.xfail(reason='known')")
    found.result.assert_outcomes(passed=3, xfailed=1)
    assert (found.ret, found.outcome("claim")) == (0, "FAIL")
    assert "expected to fail" in str(found.trial("claim"))


def test_an_unexpected_pass_is_flagged(trials):
    """A trial marked xfail whose claim holds passes, with a note."""
    found = run(trials, CLAIM, marks="@pytest.mark.xfail(reason='known')")
    found.result.assert_outcomes(passed=3, xpassed=1)
    assert found.outcome("claim") == "PASS"
    assert "expected to fail, and did not" in str(found.trial("claim"))


def test_measure_works_under_given(trials):
    """The function of the module needs no function-scoped fixture, which @given rejects."""
    text = """
from hypothesis import given, settings, strategies as st

@pytest.mark.gt1(source="test", controls=[])
@settings(max_examples=3, database=None)
@given(x=st.floats(0.6, 0.9))
def test_claim(unineuron_lab_free, x):
    measure("size", x, above=0.5)

@pytest.fixture(scope="session")
def unineuron_lab_free():
    return None
"""
    found = trials.write(text).run()
    assert found.outcome("claim") == "NA"
    assert "uncontrolled" in found.reason("claim")
    assert "size" in str(found.trial("claim"))


def test_measuring_outside_a_trial_is_a_clear_error(trials):
    """An ordinary test has no report to which a measurement could be added."""
    found = trials.write("def test_plain():\n    measure('size', 1, above=0)").run()
    found.result.stdout.fnmatch_lines(["*TrialError: measure('size', …) was called while no trial was running*"])
    assert found.report is None


def test_fixtures_outside_a_trial_are_a_clear_error(trials):
    """The message says how to mark the test."""
    found = trials.write("def test_plain(unineuron_weights):\n    pass").run()
    found.result.stdout.fnmatch_lines(["*test_plain asks for unineuron fixtures and is no trial; mark it gt1*"])


def test_parameters_are_cases_of_one_trial(trials):
    """The trial fails if one case fails. Each case has its own controls."""
    text = """
@pytest.mark.parametrize("bound", [0.5, 0.95])
@pytest.mark.gt1(source="test", controls=["untrained"])
def test_claim(unineuron_case, bound):
    measure('size', 0.1 if unineuron_case.control else 0.9, above=bound)
"""
    found = trials.write(text).run("--unineuron-model=nano:neox-a")
    found.result.assert_outcomes(passed=3, failed=1)
    cases = found.trial("claim")["subjects"]["neox-a"]["cases"]
    assert {case["variant"]: case["outcome"] for case in cases} == {"0.5": "PASS", "0.95": "FAIL"}
    assert found.outcome("claim") == "FAIL"


def test_an_async_function_is_an_error(trials):
    """Without a plugin that runs it, its body never ran, and nothing was missed."""
    body = "@pytest.mark.gt1(source='x')\nasync def test_claim():\n    measure('size', 0.9, above=0.5)\n"
    found = trials.write(body + HOLDS).run(*ONE, "--unineuron-fail-on=never")
    assert found.outcome("claim") == "ERROR"
    assert "async def functions are not natively supported" in found.reason("claim")


BREAKS = """
@pytest.mark.gt1(source="x")
@pytest.mark.parametrize("way", [1, 2])
def test_breaks(unineuron_case, way):
    {0}

@pytest.fixture
def broken(unineuron_case):
    {0}

@pytest.mark.gt3(source="x", controls=["untrained", "shuffled"])
def test_breaks_in_setup(broken):
    pass

@pytest.fixture
def breaks_at_its_end(unineuron_case):
    yield
    {0}

@pytest.mark.gt3(source="x", controls=["untrained", "shuffled"])
def test_breaks_in_teardown(breaks_at_its_end, unineuron_case):
    measure("size", 0 if unineuron_case.control else 1, above=0.5)

def test_no_trial():
    assert 0, "no trial"
"""


@pytest.mark.parametrize("workers", WORKERS)
def test_an_error_of_every_arm_is_shown_once(trials, workers):
    """Its traceback stands at the first arm of the case, with the number of the others; all are counted."""
    found = trials.write(BREAKS.format("raise KeyError('lost')")).run("--unineuron-model=nano:neox-a", workers)
    found.result.assert_outcomes(failed=9, errors=6, passed=3)
    text = found.result.stdout.str()
    assert text.count(">       raise KeyError('lost')") + text.count(">   raise KeyError('lost')") == 4
    assert (text.count("and 3 control arms, the same"), text.count("and 2 control arms, the same")) == (2, 2)
    assert text.count("FAILED test_trials.py::test_breaks[") == 2
    assert text.count("no trial") == 3


def test_different_errors_of_arms_are_all_shown(trials):
    """Arms whose messages or places differ are no repetition."""
    found = trials.write(BREAKS.format("raise KeyError(unineuron_case.arm)")).run("--unineuron-model=nano:neox-a")
    found.result.stdout.no_fnmatch_line("*control arms, the same*")
    found.result.stdout.fnmatch_lines(["E       KeyError: 'subject'", "E       KeyError: 'shuffled'"])


@pytest.mark.parametrize(
    "ending",
    [
        "pytest.skip('no such file')",
        "pytest.xfail('known')",
        "raise NotApplicable('no heads')",
        "measure('size', float('nan'), above=0.5)",
    ],
)
def test_a_control_that_says_nothing_is_no_miss(trials, ending):
    """A skip, an expected failure and an undefined number: none of them is evidence, whatever was measured before."""
    body = f"""from pytest_unineuron.errors import NotApplicable
measure('seen', 1.0)
if unineuron_case.control == 'shuffled':
    {ending}
else:
    {CLAIM}"""
    found = run(trials, body)
    assert found.arms("claim")["shuffled"]["standing"] == "unfinished"
    assert found.outcome("claim") == "NA"
    assert "against 2 of 3 controls" in found.reason("claim")


@pytest.mark.parametrize("number", ["needs('tokens', 3, at_least=9)", "('size', 0.5, above=0.5)"])
def test_a_control_with_too_little_or_too_close_to_call_is_a_miss(trials, number):
    body = f"""if unineuron_case.control == 'shuffled':
    unineuron_measure{number if number[0] == "(" else "." + number}
else:
    {CLAIM}"""
    found = run(trials, body)
    assert found.arms("claim")["shuffled"]["standing"] == "missed"
    assert found.outcome("claim") == "PASS"

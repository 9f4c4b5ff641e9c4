"""``--unineuron-policy`` and ``--unineuron-accept-vacuous``: how the trials of a criterion decide its verdict."""

import pytest

BODY = """
@pytest.mark.gt1(source="x", primary={primary})
def test_good(unineuron_case):
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)

@pytest.mark.gt1(source="x")
def test_bad():
    measure('size', 0.1, above=0.5)

@pytest.mark.gt1(source="x")
def test_empty():
    measure('size', 0.9, above=0.5)
"""
ARGS = ("--unineuron-model=nano:neox-a", "--unineuron-fail-on=never")


@pytest.mark.parametrize(
    ("policy", "primary", "verdict"),
    [
        ("primary", False, "FAIL"),
        ("primary", True, "PASS"),
        ("all", False, "FAIL"),
        ("majority", False, "FAIL"),
        ("any", False, "PASS"),
    ],
)
def test_the_policy_decides_the_verdict(trials, policy, primary, verdict):
    """Of three trials one passes, one fails and one is vacuous; the first alone may be primary."""
    found = trials.write(BODY.format(primary=primary)).run(*ARGS, f"--unineuron-policy={policy}")
    assert found.summary["Checklist"]["GT1_ModelGeneralization"] == verdict
    assert found.report["policy"] == policy


def test_accepting_vacuous_trials_lets_them_count(trials):
    """The vacuous trial counts as a pass, so two trials of three pass."""
    args = (*ARGS, "--unineuron-policy=majority", "--unineuron-accept-vacuous")
    found = trials.write(BODY.format(primary=False)).run(*args)
    assert found.outcome("empty") == "PASS"
    assert found.summary["Checklist"]["GT1_ModelGeneralization"] == "PASS"


@pytest.mark.parametrize("accepts", [False, True])
def test_the_forms_of_the_report_say_that_vacuous_trials_were_counted(trials, accepts):
    """And none says that a control did not show what one may have shown."""
    trials.write(BODY.format(primary=True))
    found = trials.run(*ARGS, *(["--unineuron-accept-vacuous"] if accepts else []))
    rationale = found.summary["Rationale"]["GT1_ModelGeneralization"]
    out = trials.path / "evaluation"
    markdown, page = ((out / f"generalization_eval_report.{form}").read_text("utf-8") for form in ("md", "html"))
    assert ("under policy 'primary', with vacuous trials counted: " in rationale) == accepts
    assert ("(policy: primary; vacuous trials count)" in found.shown) == accepts
    assert all(("Policy primary; vacuous trials count; " in text) == accepts for text in (markdown, page))
    assert ("shown by the model, beyond every control" in found.shown) != accepts
    assert ("shown by the model, and perhaps by a control too, as vacuous trials count" in found.shown) == accepts


def test_the_rationale_names_what_speaks_against_a_pass(trials):
    """Failed and vacuous trials are in the rationale, although the verdict is PASS."""
    found = trials.write(BODY.format(primary=False)).run(*ARGS, "--unineuron-policy=any")
    text = found.summary["Rationale"]["GT1_ModelGeneralization"]
    assert "Failed: bad: missed: size = 0.1, claimed > 0.5" in text
    assert "Vacuous (a null shows it too): empty" in text

"""``--unineuron-protocol``: a run is judged by the protocol as published too, and the report shows both."""

import json

BODY = "".join(
    f"""
@pytest.mark.gt1(source="x", controls=["untrained"])
def test_{name}(unineuron_case):
    measure('size', 0.1 if unineuron_case.control else {value}, above=0.5)
"""
    for name, value in {"bad": 0.2, "good": 0.9}.items()
)
ARGS = ("--unineuron-model=nano:neox-a", "--unineuron-fail-on=never")
PROTOCOL = "--unineuron-protocol=mechevalagent"


def test_the_report_shows_both_verdicts(trials):
    """One of two trials passes: FAIL by the policy, PASS by the protocol, in every form of the report."""
    found = trials.write(BODY).run(*ARGS, PROTOCOL)
    tries = {"bad": "FAIL", "good": "PASS"}
    gt1 = found.report["criteria"]["GT1"]
    assert gt1["verdict"] == found.summary["Checklist"]["GT1_ModelGeneralization"] == "FAIL"
    assert gt1["protocol"] == {"verdict": "PASS", "subjects": {"neox-a": {"verdict": "PASS", "tries": tries}}}
    found.result.stdout.fnmatch_lines(
        [
            "*GT1 new model: FAIL *",
            "By the protocol mechevalagent (at most 3 tries, one success)",
            "*GT1 new model: PASS (neox-a PASS, 1 of 2 tries)",
            "*GT2 new data: NA",
            "*GT3 new component: NA",
        ]
    )
    out = trials.path / "evaluation"
    assert (
        "| GT1 new model | neox-a | PASS | bad FAIL; good PASS |" in (out / "generalization_eval_report.md").read_text()
    )
    cells = json.loads((out / "generalization_eval.ipynb").read_text())["cells"]
    printed = ["".join(output["text"]).splitlines() for cell in cells for output in cell.get("outputs", ())]
    (table,) = [lines for lines in printed if lines and "by mechevalagent" in lines[0]]
    assert table[2].split() == ["GT1_ModelGeneralization", "FAIL", "PASS", "neox-a", "FAIL"]


def test_without_it_the_report_has_no_protocol(trials):
    found = trials.write(BODY).run(*ARGS)
    assert "protocol" not in found.report["criteria"]["GT1"]
    found.result.stdout.no_fnmatch_line("By the protocol*")


def test_another_protocol_is_refused(trials):
    """The message names the one there is."""
    found = trials.write(BODY).run(*ARGS, "--unineuron-protocol=other")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(["ERROR: --unineuron-protocol=other: choose mechevalagent"])

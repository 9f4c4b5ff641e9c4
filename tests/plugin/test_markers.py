"""The markers of trials: their arguments, and errors in them."""

import pytest

TRIAL = """
@pytest.mark.{mark}
def test_claim(unineuron_case):
    \"\"\"Neurons do this.

    And more.
    \"\"\"
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
"""


def run(trials, mark, *args):
    return trials.write(TRIAL.format(mark=mark)).run("--unineuron-model=nano:neox-a", *args)


def test_declarations_are_stored(trials):
    """Id, primary, source, claim and controls of a marker are in the report."""
    found = run(trials, "gt3(trial='my_id', primary=True, controls=['shuffled'], source='section 4', claim='Yes.')")
    trial = found.trial("my_id")
    assert (trial["criterion"], trial["primary"], trial["source"]) == ("GT3", True, "section 4")
    assert (trial["claim"], trial["controls"]) == ("Yes.", ["shuffled"])
    assert list(found.arms("my_id")) == ["shuffled"]


def test_the_claim_is_the_first_line_of_the_docstring(trials):
    """This is the claim of a trial whose marker states none."""
    assert run(trials, "gt1(source='x')").trial("claim")["claim"] == "Neurons do this."


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        (
            "gt1(source='x', bound=3)",
            "marker gt1 does not know bound; it takes trial, primary, controls, source, claim",
        ),
        ("gt1", "say where the claim comes from: gt1(source='…')"),
        ("gt1(source='x', controls='untrained')", "should be a list of names, such as ['untrained']"),
        ("gt1(source=2401.12181)", "source=2401.12181 should be a text"),
        ("gt1(source='x', trial='')", "trial='' should be a text"),
        ("gt1(source='x', primary='no')", "primary='no' should be True or False"),
        ("gt1(source='x', controls=['untraned'])", "did you mean untrained?"),
        ("gt1(source='x', controls=['lobotomy'])", "no control lobotomy; there are untrained, reinitialised"),
        ("gt1('x')", "marker gt1 takes keywords only"),
        ("gt1(source='x')\n@pytest.mark.gt2(source='x')", "a trial is marked with one criterion"),
    ],
)
def test_a_wrong_marker_is_a_collection_error_in_one_line(trials, mark, words):
    """The line names the wrong argument and the right ones. There is no traceback and no report."""
    found = run(trials, mark)
    assert found.ret == 2
    found.result.stdout.fnmatch_lines([f"*{words.replace('[', '[[]')}*"])
    found.result.stdout.no_fnmatch_line("*Traceback*")
    assert found.report is None


def test_two_trials_cannot_share_an_id(trials):
    """A baseline finds a trial by its id, so a second trial with the same id is a collection error."""
    trials.write(TRIAL.format(mark="gt1(source='x')"), "test_a.py").write(TRIAL.format(mark="gt1(source='x')"))
    found = trials.run()
    assert found.ret == 2
    found.result.stdout.fnmatch_lines(["*trial id 'claim' is that of test_a.py::test_claim; say trial='…'*"])


def test_markers_are_registered(trials):
    """They are listed by --markers."""
    found = trials.write(TRIAL.format(mark="gt2(source='x')")).run("--strict-markers", "--markers")
    found.result.stdout.fnmatch_lines(["@pytest.mark.gt1(source, *", "@pytest.mark.gt2(source, *"])


def test_a_whole_class_can_be_marked(trials):
    """Every method of the class is a trial of its own."""
    text = """
@pytest.mark.gt1(source="x", controls=["untrained"])
class TestClaims:
    def test_one(self, unineuron_case):
        measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)

    def test_two(self, unineuron_case):
        measure('size', 0.2, above=0.5)
"""
    found = trials.write(text).run("--unineuron-model=nano:neox-a")
    assert (found.outcome("one"), found.outcome("two")) == ("PASS", "FAIL")


def test_trials_can_be_selected_by_marker(trials):
    """Trials that -m deselects are NOT_RUN, and their criterion is NA."""
    trials.write(TRIAL.format(mark="gt1(source='x')"))
    trials.write(TRIAL.format(mark="gt2(source='x', trial='other')"), "test_other.py")
    found = trials.run("--unineuron-model=nano:neox-a", "-m", "gt2")
    assert [t["name"] for t in found.report["trials"] if t["criterion"] == "GT2"] == ["other"]
    assert found.outcome("claim") == "NOT_RUN"
    assert found.summary["Checklist"]["GT1_ModelGeneralization"] == "NA"

"""What trials hand to ``measure``."""

from tests.faults.registry import fault

OTHERS = {"before": "PASS", "after": "PASS"}


def _never_passes(ground, here, outcome, reason="", prepare=""):
    run = ground.trials(here, prepare=prepare).pytest().has(here=outcome, **OTHERS)
    ground.expect(reason in run.reason("here"), f"its reason is {run.reason('here')!r}")
    done = ground.cli("validate", "evaluation/generalization_eval_report.json", quiet=True)
    ground.expect(done.status == 0, f"its report is not whole: {done.text}")
    return run


@fault("a measurement of NaN", "NA: undefined, never PASS; null in the report")
def measured_nan(ground):
    _never_passes(ground, "measure('size', float('nan'), above=0.5)", "NA", "undefined")


@fault("a measurement of infinity, above a bound", "NA: undefined, never PASS")
def measured_infinity(ground):
    _never_passes(ground, "measure('size', float('inf'), above=0.5)", "NA", "undefined")


@fault("a measurement of minus infinity, below a bound", "NA: undefined, never PASS")
def measured_minus_infinity(ground):
    _never_passes(ground, "import numpy as np\nmeasure('size', -np.float32('inf'), below=0.5)", "NA", "undefined")


@fault("an interval with NaN around a value that holds", "NA, never PASS")
def measured_nan_interval(ground):
    _never_passes(ground, "measure('size', 0.9, interval=(float('nan'), 1.0), above=0.5)", "NA")


@fault("an interval that leaves the value outside, above the bound", "not PASS on an interval that is none")
def measured_interval_elsewhere(ground):
    run = ground.trials(
        "if unineuron_case.control: measure('size', 0.1, above=0.5)\n"
        "else: measure('size', 0.1, interval=(0.8, 0.9), above=0.5)"
    ).pytest()
    ground.expect(run.outcome("here") in ("ERROR", "NA", "FAIL"), f"here is {run.outcome('here')}")
    run.has(**OTHERS)


@fault("a bound of NaN", "ERROR in one sentence, never PASS")
def measured_against_nan(ground):
    _never_passes(ground, "measure('size', 0.9, above=float('nan'))", "ERROR", "finite number")


@fault("an object that is no JSON is measured", "ERROR that names its type")
def measured_an_object(ground):
    _never_passes(ground, "measure('size', object(), above=0.5)", "ERROR", "object is not one number")


@fault("an array of many numbers is measured", "ERROR that says what to do")
def measured_an_array(ground):
    _never_passes(ground, "import numpy as np\nmeasure('size', np.ones(3), above=0.5)", "ERROR", "reduce it first")


@fault("an integer that no float can hold is measured (10**400)", "ERROR, never PASS")
def measured_a_huge_integer(ground):
    _never_passes(ground, "measure('size', 10**400, above=0.5)", "ERROR")


@fault("a text that looks like a number is measured ('0.9')", "ERROR: a text is not one number")
def measured_a_text(ground):
    _never_passes(ground, "measure('size', '0.9' if not unineuron_case.control else 0.1, above=0.5)", "ERROR")


@fault(
    "a name with half a surrogate pair, a newline, an escape sequence and a NUL",
    "the report is whole; none of it reaches the terminal as it is",
)
def measured_under_a_hostile_name(ground):
    name = r"a\ud800\nINCOMPLETE: forged\n::error::forged\x1b[2J\0"
    run = ground.trials(f'measure("{name}", value, above=0.5)').pytest().ends_with(0).has(here="PASS", **OTHERS)
    done = ground.cli("validate", "evaluation/generalization_eval_report.json", quiet=True)
    ground.expect(done.status == 0, f"its report is not whole: {done.text}")
    forged = [line for line in run.text.splitlines() if line.startswith(("INCOMPLETE: forged", "::error::forged"))]
    ground.expect(not forged, "a name starts a line of its own on the terminal: " + ", ".join(forged))
    ground.expect("\x1b[2J" not in run.text, "an escape sequence reaches the terminal")


@fault("a unit and a note that forge lines on the terminal and in Markdown", "shown on one line, escaped")
def measured_with_a_hostile_note(ground):
    body = r'measure("size", 0.1, unit="x\n::error::forged", note="\n## forged\n<script>alert(1)</script>", above=0.5)'
    run = ground.trials(body).pytest("--unineuron-fail-on=never").ends_with(0).has(here="FAIL", **OTHERS)
    text = (ground.out / "generalization_eval_report.md").read_text("utf-8")
    ground.expect("<script>" not in text and "\n## forged" not in text, "the Markdown is forged")
    forged = [line for line in run.text.splitlines() if line.startswith(("::error::forged", "## forged"))]
    ground.expect(not forged, "a line of the terminal is forged")


@fault("a name of a million characters", "the report is whole; the terminal stays readable")
def measured_under_a_long_name(ground):
    run = ground.trials('measure("a" * 1_000_000, value, above=0.5)').pytest().ends_with(0).has(here="PASS", **OTHERS)
    longest = max(map(len, run.text.splitlines()))
    ground.expect(longest < 10_000, f"a line of the terminal has {longest} characters")


@fault("ten thousand measurements in one trial", "all are judged and kept, within a minute and a half")
def measured_ten_thousand_times(ground):
    body = 'for n in range(10_000): measure(f"size {n}", value, above=0.5)'
    run = ground.trials(body).pytest().ends_with(0).has(here="PASS", **OTHERS)
    ground.say(f"{len(run.measured['test_trials.py::test_here[neox-a]'])} kept")
    ground.expect(len(run.text) < 1_000_000, f"{len(run.text)} characters on the terminal")


@fault("two measurements under one name, of which the first misses", "FAIL: neither hides the other")
def measured_twice(ground):
    run = ground.trials('measure("size", 0.1, above=0.5)\nmeasure("size", 0.9, above=0.5)').pytest()
    run.ends_with(1).has(here="FAIL", **OTHERS)


@fault("a number is recorded and nothing is claimed of it", "ERROR: nothing was judged")
def measured_without_a_claim(ground):
    _never_passes(ground, "measure('size', 0.9)", "ERROR", "nothing was judged")


@fault("measure is called from a thread that the trial started", "an error of the thread; the trial is no PASS for it")
def measured_in_a_thread(ground):
    body = "import threading\nt = threading.Thread(target=lambda: measure('size', 9, above=0.5))\nt.start(); t.join()"
    run = ground.trials(body).pytest().has(**OTHERS)
    ground.expect(run.outcome("here") == "ERROR", f"here is {run.outcome('here')}")


@fault("a trial keeps the recorder of another and measures into it", "no number shows up where it was not measured")
def measured_into_another(ground):
    ground.trials(
        "kept.append(unineuron_measure)\n(kept[0])('size', value, above=0.5)",
        fixtures="unineuron_case, unineuron_measure",
        prepare="kept = []",
    )
    run = ground.pytest().has(**OTHERS)
    ground.expect(run.outcome("here") != "PASS", "here is PASS")

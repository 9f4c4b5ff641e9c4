"""What the body of a trial can do to the process it runs in."""

from tests.faults.ground import MEASURES
from tests.faults.registry import fault

OTHERS = {"before": "PASS", "after": "PASS"}


def _error(ground, here, *reasons, **rest):
    """The trial is an ERROR with its reason; the others are measured."""
    run = ground.trials(here, **rest).pytest().ends_with(1).has(here="ERROR", **OTHERS)
    for text in reasons:
        ground.expect(text in run.reason("here"), f"its reason is {run.reason('here')!r}")
    return run


@fault("a trial calls sys.exit(0)", "the trial is an ERROR; the others are measured; exit 1")
def exits(ground):
    _error(ground, "sys.exit(0)", "SystemExit")


@fault("a trial raises KeyboardInterrupt", "exit 2; what was measured is in the report, the rest is NOT_RUN")
def raises_keyboard_interrupt(ground):
    ground.trials("raise KeyboardInterrupt").pytest().ends_with(2).has(before="PASS", here="NOT_RUN", after="NOT_RUN")


@fault("a trial runs out of memory (RLIMIT_AS)", "ERROR: MemoryError; the others are measured")
def out_of_memory(ground):
    body = """
        import resource
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, limits[1]))
        try:
            bytearray(2**40)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
    """
    _error(ground, body, "MemoryError")


@fault("a trial recurses without end", "ERROR: RecursionError; the others are measured")
def recurses(ground):
    _error(ground, "def again(): again()\nagain()", "RecursionError")


@fault("a trial crashes the interpreter (SIGSEGV), serially", "the process dies; the journal has what was measured")
def segmentation_fault(ground):
    run = ground.trials("os.kill(os.getpid(), signal.SIGSEGV)").pytest()
    ground.expect(run.status == -11, f"ended with {run.status}")
    ground.recover(run).has(before="PASS", after="NOT_RUN")


@fault("a trial raises an exception whose str() raises", "ERROR; the others are measured")
def raises_what_cannot_be_shown(ground):
    prepare = "class Shy(Exception):\n    def __str__(self): raise ValueError('no words')\n"
    _error(ground, "raise Shy()", prepare=prepare)


@fault("an assertion whose message cannot be shown", "FAIL or ERROR, never lost; the others are measured")
def asserts_what_cannot_be_shown(ground):
    prepare = "class Shy(AssertionError):\n    def __str__(self): raise ValueError('no words')\n"
    run = ground.trials("raise Shy()", prepare=prepare).pytest().has(**OTHERS)
    ground.expect(run.outcome("here") in ("FAIL", "ERROR"), f"here is {run.outcome('here')}")


@fault("a trial raises a group of exceptions, one of them failed", "ERROR, never FAIL: not every part is an answer")
def raises_a_group(ground):
    _error(ground, "raise ExceptionGroup('both', [AssertionError('a'), ValueError('b')])", "both")


@fault("a trial raises a message of a hundred thousand lines", "ERROR; the table stays readable")
def raises_a_long_message(ground):
    run = _error(ground, "raise ValueError('line\\n' * 100_000)")
    section = run.text.partition("universal neurons: do they generalize?")[2].partition("short test summary")[0]
    ground.expect(len(section) < 20_000, f"the section has {len(section)} characters")


@fault("a trial warns, under -W error", "ERROR; the others are measured; the plugin itself warns of nothing")
def warns(ground):
    ground.trials(f"import warnings\nwarnings.warn('careful')\n{MEASURES}")
    ground.pytest("-W", "error").ends_with(1).has(here="ERROR", **OTHERS)


@fault("a trial hangs, under pytest-timeout (signal)", "ERROR: a timeout is no answer; the others are measured")
def hangs(ground):
    run = ground.trials("if not unineuron_case.control: time.sleep(60)\n" + MEASURES)
    run = run.pytest("-p", "timeout", "--timeout=1", "--timeout-method=signal").has(**OTHERS)
    ground.expect(run.outcome("here") == "ERROR", f"here is {run.outcome('here')}: {run.reason('here')}")
    run.ends_with(1)


@fault("a control hangs, under pytest-timeout (signal)", "ERROR: it did not miss; the claim is NA, never PASS")
def control_hangs(ground):
    run = ground.trials("if unineuron_case.control: time.sleep(60)\n" + MEASURES)
    run.pytest("-p", "timeout", "--timeout=1", "--timeout-method=signal").has(here="NA", **OTHERS)


@fault(
    "a trial hangs, under pytest-timeout (thread), which ends the process",
    "the journal has what was measured; the next run takes it over",
)
def hangs_in_a_thread(ground):
    ground.trials("if not unineuron_case.control and once(): time.sleep(60)\n" + MEASURES)
    run = ground.pytest("-p", "timeout", "--timeout=1", "--timeout-method=thread")
    ground.expect(run.status != 0, "exit 0")
    second = ground.pytest().ends_with(0)
    ground.expect(second.resumed == 2, f"{second.resumed} results taken over")


@fault(
    "a trial hangs under -n2 and pytest-timeout (thread)", "its worker is gone: ERROR, exit 22; the others are measured"
)
def hangs_in_a_worker(ground):
    from tests.faults.ground import TWO

    ground.trials("if unineuron_case.id == 'neox-a' and once(): time.sleep(60)\n" + MEASURES)
    run = ground.pytest("-n2", "-p", "timeout", "--timeout=2", "--timeout-method=thread", models=TWO)
    run.ends_with(22).has(here="ERROR", **OTHERS)


@fault("the teardown of a fixture hangs, under pytest-timeout", "ERROR, and what was measured is kept")
def hangs_in_teardown(ground):
    ground.trials(
        fixtures="slow, unineuron_case",
        prepare="""
        @pytest.fixture
        def slow(unineuron_case):
            yield
            if not unineuron_case.control:
                time.sleep(60)
    """,
    )
    run = ground.pytest("-p", "timeout", "--timeout=1", "--timeout-method=signal").has(here="ERROR", **OTHERS)
    run.ends_with(1)


@fault("a trial closes standard output", "the report is whole")
def closes_stdout(ground):
    run = ground.trials(f"{MEASURES}\nos.close(1)").pytest().has(before="PASS", here="PASS")
    ground.expect(run.status in (0, 1, 3, 22, 120), f"exit {run.status}")


@fault(
    "whoever reads the output goes away (a closed pipe)",
    "whole, or not exit 0; what was measured is in the report or the journal",
)
def nobody_reads(ground):
    started = ground.start()
    started[0].stdout.close()
    run = ground.ended(started)
    ground.expect(run.status != 0 or run.outcome("after") == "PASS", "exit 0, and trials were not measured")


@fault("a trial replaces json.dumps and does not put it back", "no report that says nothing, under exit 0")
def patches_json(ground):
    ground.trials(f'import json\njson.dumps = lambda *_, **__: "{{}}"\n{MEASURES}')
    run = ground.pytest()
    done = ground.cli("validate", "evaluation/generalization_eval_report.json")
    ground.expect(done.status == 0 or run.status == 22, f"exit {run.status}, and validate says: {done.text.strip()}")


@fault(
    "a trial makes the clock, os.replace and open go wrong with monkeypatch, which puts them back",
    "the report is whole",
)
def patches_and_puts_back(ground):
    body = f"""
        monkeypatch.setattr(time, "time", lambda: float("nan"))
        monkeypatch.setattr("os.replace", None)
        monkeypatch.setattr("builtins.open", None)
        {MEASURES}
    """
    ground.trials(body, fixtures="unineuron_case, monkeypatch").pytest().ends_with(0).has(here="PASS", **OTHERS)


@fault("a trial changes the environment: UNINEURON_POLICY=any, UNINEURON_OUT", "settings are those of the start")
def changes_the_environment(ground):
    body = f"os.environ['UNINEURON_POLICY'] = 'any'; os.environ['UNINEURON_OUT'] = 'elsewhere'\n{MEASURES}"
    run = ground.trials(body).pytest().ends_with(0).has(here="PASS", **OTHERS)
    ground.expect(run.report["policy"] == "primary", "the policy was changed")


@fault("a fixture raises in setup", "ERROR, not FAIL; the others are measured")
def setup_raises(ground):
    prepare = "@pytest.fixture\ndef broken():\n    assert False, 'no claim'"
    _error(ground, MEASURES, "setup", fixtures="broken, unineuron_case", prepare=prepare)


@fault("a conftest raises in pytest_sessionfinish", "the report is whole; not exit 0")
def sessionfinish_raises(ground):
    ground.write("conftest.py", "def pytest_sessionfinish():\n    raise RuntimeError('at the end')\n")
    run = ground.pytest().has(here="PASS", **OTHERS)
    ground.expect(run.status != 0, "exit 0")


@fault("a conftest raises in pytest_sessionfinish before anybody else", "the report is whole; not exit 0")
def sessionfinish_raises_first(ground):
    ground.write(
        "conftest.py",
        """
        import pytest
        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionfinish():
            raise RuntimeError('at the end')
    """,
    )
    run = ground.pytest()
    ground.expect(run.status != 0, "exit 0")
    if run.report is None:
        ground.say("no report is written")
        ground.recover(run, ground.journals()).has(here="PASS", **OTHERS)


@fault(
    "a conftest raises in pytest_runtest_logreport", "never exit 0; what was measured is in the report or the journal"
)
def logreport_raises(ground):
    ground.write(
        "conftest.py",
        """
        def pytest_runtest_logreport(report):
            if "test_here" in report.nodeid and report.when == "call":
                raise RuntimeError("in the middle")
    """,
    )
    run = ground.pytest()
    ground.expect(run.status not in (0, 5), f"exit {run.status}")
    run.has(before="PASS")


@fault(
    "a trial breaks the report itself: a made_from that is no JSON, by a hook of a conftest",
    "ERROR or exit 22, never a report that hides it",
)
def breaks_the_envelope(ground):
    ground.write(
        "conftest.py",
        """
        import pytest
        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if "test_here" in item.nodeid and report.when == "call":
                report.unineuron["result"]["notes"] = [object()]
            return report
    """,
    )
    run = ground.pytest()
    ground.struck = ("test_here", "test_after")
    ground.expect(run.status in (22, 3, 1), f"exit {run.status}")

"""Trials, fixtures and conftests that break the process in which they run."""

import subprocess
import sys

import pytest

from pytest_unineuron.cli.main import main
from tests.faults.three import MEASURES, ONE, REPORT, journals, outcomes, report_from_journal, write

pytestmark = pytest.mark.fault

OUT_OF_MEMORY = """
import resource
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, limits[1]))
try:
    bytearray(2**40)
finally:
    resource.setrlimit(resource.RLIMIT_AS, limits)
"""
UNPRINTABLE = "class Unprintable({base}):\n    def __str__(self): raise ValueError('no words')\n"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.exit(0)", "SystemExit"),
        (OUT_OF_MEMORY, "MemoryError"),
        ("def again(): again()\nagain()", "RecursionError"),
        (UNPRINTABLE.format(base="Exception") + "raise Unprintable", "Unprintable"),
        ("raise ExceptionGroup('both', [AssertionError('a'), ValueError('b')])", "both"),
        (f"import warnings\nwarnings.warn('careful')\n{MEASURES}", "careful"),
    ],
    ids=["exit", "memory", "recursion", "unprintable", "group", "warning"],
)
def test_a_trial_that_breaks_is_an_error_and_the_others_are_measured(trials, body, reason):
    found = write(trials, body).run(*ONE, "-W", "error", subprocess=True)
    assert (found.ret, outcomes(found)) == (1, "PASS ERROR PASS")
    assert reason in found.reason("here")


def test_a_failed_assertion_that_cannot_be_printed_is_a_fail(trials):
    found = write(trials, UNPRINTABLE.format(base="AssertionError") + "raise Unprintable").run(*ONE)
    assert outcomes(found) == "PASS FAIL PASS"


def test_a_closed_output_does_not_lose_results(trials):
    write(trials)
    command = [sys.executable, "-m", "pytest", *ONE]
    with subprocess.Popen(command, cwd=trials.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        process.stdout.close()
    (_, report) = trials.left()
    assert process.returncode != 0 or not report["incomplete"]


def test_a_trial_cannot_change_settings_by_environment_variables(trials):
    body = "monkeypatch.setenv('UNINEURON_POLICY', 'any')\nmonkeypatch.setenv('UNINEURON_OUT', 'elsewhere')\n"
    found = write(trials, body + MEASURES, fixtures="unineuron_case, monkeypatch").run(*ONE)
    assert outcomes(found) == "PASS PASS PASS"
    assert found.report["policy"] == "primary"
    assert not (trials.path / "elsewhere").exists()


def test_a_trial_that_replaces_the_json_encoder_cannot_forge_a_report(trials):
    body = f'import json\njson.dumps = lambda *_, **__: "{{}}"\n{MEASURES}'
    found = write(trials, body).run(*ONE, subprocess=True)
    assert found.ret == 22 or main(["validate", str(trials.path / "evaluation" / REPORT)]) == 0


def test_an_error_of_a_conftest_at_the_end_fails_the_run(trials):
    """The results are in the report or at least in the journal."""
    trials.pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionfinish():
            raise RuntimeError("at the end")
        """
    )
    found = write(trials).run(*ONE, subprocess=True)
    assert found.ret != 0
    (journal,) = journals(trials.path / "evaluation")
    assert outcomes(found if found.report else report_from_journal(trials, journal)) == "PASS PASS PASS"


def test_an_error_of_a_conftest_while_results_are_reported_fails_the_run(trials):
    trials.pytester.makeconftest(
        """
        def pytest_runtest_logreport(report):
            if "test_here" in report.nodeid and report.when == "call":
                raise RuntimeError("in the middle")
        """
    )
    found = write(trials).run(*ONE, subprocess=True)
    assert found.ret not in (0, 5)
    assert found.outcome("before") == "PASS"
    assert found.outcome("here") != "PASS"


def test_a_result_that_a_conftest_damages_fails_the_run(trials):
    trials.pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if "test_here" in item.nodeid and report.when == "call":
                report.unineuron["result"]["notes"] = [object()]
            return report
        """
    )
    assert write(trials).run(*ONE, subprocess=True).ret in (1, 3, 22)

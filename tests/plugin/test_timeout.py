"""``--timeout`` of pytest-timeout: a trial that exceeds it is neither passed nor failed."""

import pytest

from tests.plugin.inner import ONE

pytest.importorskip("pytest_timeout", reason="pytest-timeout is not installed")

EXPIRE = {
    "signal": "signal.raise_signal(signal.SIGALRM)",
    "thread": "[t.function(*t.args) for t in threading.enumerate() if isinstance(t, threading.Timer)]",
}
"""Code that makes the timer of pytest-timeout expire at once, for each of its methods."""
SLOW = """
import signal, threading

@pytest.mark.gt1(source="x")
def test_slow(unineuron_case):
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
    if unineuron_case.arm == ARM:
        EXPIRE
"""


def run(trials, method, arm, *args, **options):
    trials.write(SLOW.replace("ARM", repr(arm)).replace("EXPIRE", EXPIRE[method]))
    return trials.run(*ONE, "-p", "timeout", "--timeout=600", f"--timeout-method={method}", *args, **options)


def test_a_subject_that_takes_too_long_is_an_error(trials):
    """A timeout is evidence neither for nor against the claim."""
    found = run(trials, "signal", "subject")
    assert found.ret == 1
    assert found.outcome("slow") == "ERROR"
    assert "Timeout" in found.reason("slow")


def test_a_control_that_takes_too_long_has_not_missed(trials):
    """Otherwise claims would pass on slow machines."""
    found = run(trials, "signal", "untrained")
    assert found.ret == 1
    assert found.arms("slow")["untrained"]["outcome"] == "ERROR"
    assert found.outcome("slow") == "NA"


def test_a_process_that_a_timeout_ends_has_no_verdict(trials):
    """With the method ``thread``, pytest-timeout ends the process. The run fails and no criterion passes."""
    found = run(trials, "thread", "subject", subprocess=True)
    assert found.ret == 1
    assert found.summary is None or "PASS" not in found.summary["Checklist"].values()


def test_a_worker_that_a_timeout_ends_loses_one_item(trials):
    """Under -n, pytest-timeout ends a worker, which counts as a worker that died."""
    found = run(trials, "thread", "subject", "-n1")
    assert found.ret == 22
    assert found.outcome("slow") == "ERROR"
    assert "worker process died" in found.reason("slow")

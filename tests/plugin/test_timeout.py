"""``--timeout`` of pytest-timeout: a trial that was cut off says nothing."""

import pytest

from tests.plugin.inner import ONE

pytest.importorskip("pytest_timeout", reason="pytest-timeout is not installed")

EXPIRE = {
    "signal": "signal.raise_signal(signal.SIGALRM)",
    "thread": "[t.function(*t.args) for t in threading.enumerate() if isinstance(t, threading.Timer)]",
}
"""How the timer of pytest-timeout goes off by each of its methods, without anybody waiting for it."""
SLOW = """
import signal, threading

@pytest.mark.gt1(source="x")
def test_slow(unineuron_case):
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
    if unineuron_case.arm == ARM:
        EXPIRE
"""


def run(trials, method, arm, *args, **how):
    trials.write(SLOW.replace("ARM", repr(arm)).replace("EXPIRE", EXPIRE[method]))
    return trials.run(*ONE, "-p", "timeout", "--timeout=600", f"--timeout-method={method}", *args, **how)


def test_a_subject_that_takes_too_long_is_an_error(trials):
    """It is neither for nor against the claim."""
    found = run(trials, "signal", "subject")
    assert found.ret == 1
    assert found.outcome("slow") == "ERROR"
    assert "Timeout" in found.reason("slow")


def test_a_control_that_takes_too_long_has_not_missed(trials):
    """Or a slow machine would make a claim pass."""
    found = run(trials, "signal", "untrained")
    assert found.ret == 1
    assert found.arms("slow")["untrained"]["outcome"] == "ERROR"
    assert found.outcome("slow") == "NA"


def test_a_process_that_ends_itself_leaves_no_verdict(trials):
    """Where there are no signals, pytest-timeout ends the process: the status says so, and nothing has passed."""
    found = run(trials, "thread", "subject", subprocess=True)
    assert found.ret == 1
    assert found.summary is None or "PASS" not in found.summary["Checklist"].values()


def test_a_worker_that_ends_itself_loses_one_item(trials):
    """Under -n it is a worker that died."""
    found = run(trials, "thread", "subject", "-n1")
    assert found.ret == 22
    assert found.outcome("slow") == "ERROR"
    assert "worker process died" in found.reason("slow")

"""Workers of xdist that die: only the item that a worker was running is lost, and the exit status says so."""

import pytest

from tests.faults.three import MEASURES, TWO, outcomes, write

pytestmark = pytest.mark.fault

FIRST = 'unineuron_case.id == "neox-a~untrained" and once()'
KILL = "os.kill(os.getpid(), signal.SIGKILL)"
FIXTURE = "@pytest.fixture\ndef dying(unineuron_case):\n    yield\n    if {first}: {kill}\n"
DEATHS = {
    "between two measurements": {"here": f'measure("first", value, above=0.5)\nif {FIRST}: {KILL}\n{MEASURES}'},
    "in the teardown": {
        "setup": FIXTURE.format(first=FIRST, kill=KILL),
        "fixtures": "dying, unineuron_case",
    },
    "with exit status 0": {"here": f"if {FIRST}: os._exit(0)\n{MEASURES}"},
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_worker_that_dies_loses_only_the_item_it_was_running(trials, death):
    found = write(trials, **DEATHS[death]).run("-n2", *TWO)
    assert found.ret == 22
    assert outcomes(found) == "PASS NA PASS"
    assert outcomes(found, "gpt2-a") == "PASS PASS PASS"
    control = found.arms("here")["untrained"]
    assert control["outcome"] == "ERROR"
    assert [m["name"] for m in control["measurements"]] == (["size"] if death == "in the teardown" else [])
    found.result.stdout.fnmatch_lines(["INCOMPLETE: *"])


def test_a_worker_that_is_killed_between_two_items_makes_the_run_incomplete(trials):
    """Another worker runs the remaining items, but results that were not yet sent may be lost."""
    trials.pytester.makeconftest(
        """
        import os, signal

        class Dying:
            def pytest_runtest_logfinish(self, nodeid):
                if nodeid.endswith("test_here[neox-a]") and not os.path.exists("died"):
                    open("died", "w").close()
                    os.kill(os.getpid(), signal.SIGKILL)

        def pytest_configure(config):
            if hasattr(config, "workerinput"):
                config.pluginmanager.register(Dying())
        """
    )
    found = write(trials).run("-n2", *TWO)
    assert found.ret == 22
    assert (found.outcome("before"), found.outcome("after")) == ("PASS", "PASS")
    found.result.stdout.fnmatch_lines(["INCOMPLETE: *"])


def test_workers_that_are_killed_in_collection_fail_the_run(trials):
    found = write(trials, setup=KILL).run("-n2", "--max-worker-restart=1", *TWO, subprocess=True)
    assert found.ret not in (0, 5)


def test_a_worker_that_is_killed_after_its_last_item_makes_the_run_incomplete(trials):
    """The worker dies before it reports how many results it sent."""
    trials.pytester.makeconftest(
        """
        import os, pytest, signal

        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionfinish(session):
            if getattr(session.config, "workerinput", {}).get("workerid") == "gw0":
                os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    found = write(trials).run("-n2", *TWO)
    assert found.ret == 22
    assert outcomes(found) == outcomes(found, "gpt2-a") == "PASS PASS PASS"


def test_a_result_that_cannot_be_sent_fails_the_run(trials):
    """Xdist cannot serialise one of its properties."""
    body = f'{MEASURES}\nfrom pathlib import Path\nrecord_property("where", Path("x"))'
    found = write(trials, body, fixtures="unineuron_case, record_property").run("-n2", *TWO, subprocess=True)
    assert found.ret not in (0, 5)

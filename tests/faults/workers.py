"""Workers of xdist that go away."""

from tests.faults.ground import MEASURES, TWO
from tests.faults.registry import fault

KILL = 'if unineuron_case.id == "neox-a~untrained" and once(): os.kill(os.getpid(), signal.SIGKILL)'
ALL = {"before": "PASS", "after": "PASS"}


def _only_here(run):
    """The item that was running is an ERROR; all others have their results."""
    run.ends_with(22).says("INCOMPLETE").has(here="NA", **ALL).has("gpt2-a", before="PASS", here="PASS", after="PASS")


@fault(
    "a worker is killed (SIGKILL) in the setup of an item", "that item is an ERROR, all others are measured, exit 22"
)
def worker_killed_in_setup(ground):
    ground.trials(
        prepare=f"@pytest.fixture\ndef killing(unineuron_case):\n    {KILL}\n", fixtures="killing, unineuron_case"
    )
    _only_here(ground.pytest("-n2", models=TWO))


@fault("a worker is killed before a trial measures", "that item is an ERROR, all others are measured, exit 22")
def worker_killed_in_trial(ground):
    _only_here(ground.trials(f"{KILL}\n{MEASURES}").pytest("-n2", models=TWO))


@fault(
    "a worker is killed between two measurements of one trial",
    "half a trial is no result: the item is an ERROR without the first number, exit 22",
)
def worker_killed_between_measurements(ground):
    run = ground.trials(f'measure("first", value, above=0.5)\n{KILL}\n{MEASURES}').pytest("-n2", models=TWO)
    _only_here(run)


@fault(
    "a worker is killed in the teardown of an item that was measured",
    "what it measured is not lost, yet the item is an ERROR; exit 22",
)
def worker_killed_in_teardown(ground):
    ground.trials(
        prepare=f"@pytest.fixture\ndef killing(unineuron_case):\n    yield\n    {KILL}\n",
        fixtures="killing, unineuron_case",
    )
    _only_here(ground.pytest("-n2", models=TWO))


@fault("a worker is killed between two items", "the next worker takes over; exit 22, since one vanished")
def worker_killed_between_items(ground):
    ground.write(
        "conftest.py",
        """
        import os, signal
        def pytest_runtest_logfinish(nodeid):
            if nodeid.endswith("test_here[neox-a]") and "PYTEST_XDIST_WORKER" in os.environ:
                try:
                    os.close(os.open(os.environ["FAULTS_ONCE"], os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return
                os.kill(os.getpid(), signal.SIGKILL)
    """,
    )
    run = ground.pytest("-n2", models=TWO)
    run.ends_with(22).has(before="PASS", after="PASS").says("INCOMPLETE")
    ground.expect(run.outcome("here") in ("PASS", "NA", "ERROR"), f"here is {run.outcome('here')}")


@fault("a worker is killed, -n2 --max-worker-restart=0", "what it had left is NOT_RUN or measured elsewhere; exit 22")
def worker_not_replaced(ground):
    run = ground.trials(f"{KILL}\n{MEASURES}").pytest("-n2", "--max-worker-restart=0", models=TWO)
    run.ends_with(22).says("INCOMPLETE").has(before="PASS", here="NA")
    ground.expect(run.outcome("after") in ("PASS", "NOT_RUN"), f"after is {run.outcome('after')}")


@fault("every worker is killed as often as it is started", "all items are named, none passes; exit is not 0")
def workers_killed_again_and_again(ground):
    run = ground.trials(
        prepare="@pytest.fixture(autouse=True)\ndef killing():\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    run = run.pytest("-n2", "--max-worker-restart=2", models=TWO)
    ground.expect(run.status not in (0, 5), f"exit {run.status}")
    ground.expect("PASS" not in run.outcomes.values(), "something passes")


@fault("a worker is killed while it collects", "what can be measured is, or the run fails; never exit 0 or 5")
def worker_killed_collecting(ground):
    ground.trials(
        prepare="""
        if "PYTEST_XDIST_WORKER" in os.environ and once():
            os.kill(os.getpid(), signal.SIGKILL)
    """
    )
    run = ground.pytest("-n2", models=TWO)
    ground.expect(run.status not in (0, 5), f"exit {run.status}")


@fault("every worker is killed while it collects", "never exit 0 or 5")
def workers_killed_collecting(ground):
    ground.trials(
        prepare="""
        if "PYTEST_XDIST_WORKER" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
    """
    )
    run = ground.pytest("-n2", "--max-worker-restart=1", models=TWO)
    ground.expect(run.status not in (0, 5), f"exit {run.status}")


@fault("a worker ends with os._exit(0) in a trial", "an exit status of 0 says nothing: ERROR, exit 22")
def worker_exits_quietly(ground):
    body = KILL.replace("os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)")
    _only_here(ground.trials(f"{body}\n{MEASURES}").pytest("-n2", models=TWO))


@fault(
    "a worker is killed after its last item, before it says how much it sent",
    "all results are there, and the run is incomplete all the same; exit 22",
)
def worker_killed_at_its_end(ground):
    ground.write(
        "conftest.py",
        """
        import os, pytest, signal
        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionfinish(session):
            if os.environ.get("PYTEST_XDIST_WORKER") == "gw0":
                os.kill(os.getpid(), signal.SIGKILL)
    """,
    )
    ground.pytest("-n2", models=TWO).ends_with(22).says("INCOMPLETE").has(here="PASS", **ALL)


@fault(
    "a worker reports a Path as a property, which xdist cannot send",
    "results that do not arrive are missed: never exit 0",
)
def worker_sends_what_cannot_travel(ground):
    body = f'{MEASURES}\nfrom pathlib import Path\nrecord_property("where", Path("x"))'
    ground.struck = ("test_before", "test_here")  # xdist ends the run at once, whatever else is on its way
    run = ground.trials(body, fixtures="unineuron_case, record_property").pytest("-n2", models=TWO)
    ground.expect(run.status not in (0, 5), f"exit {run.status}")


@fault(
    "a worker stops answering (SIGSTOP) and is killed by a watchdog from outside",
    "the item is an ERROR, all others are measured, exit 22",
)
def worker_stopped(ground):
    body = KILL.replace("os.kill(os.getpid(), signal.SIGKILL)", "stop()")
    ground.trials(
        f"{body}\n{MEASURES}",
        prepare="""
        def stop():
            import subprocess
            subprocess.Popen(["sh", "-c", f"sleep 1; kill -KILL {os.getpid()}"], start_new_session=True)
            os.kill(os.getpid(), signal.SIGSTOP)
    """,
    )
    _only_here(ground.pytest("-n2", models=TWO))

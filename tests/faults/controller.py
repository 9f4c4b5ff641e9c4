"""The process that gathers results dies, and what the next one makes of it."""

from tests.faults.ground import MEASURES, TWO
from tests.faults.registry import fault

KILL = "if unineuron_case.control and once(): os.kill({}, signal.SIGKILL)\n" + MEASURES
WHOLE = {"before": "PASS", "here": "PASS", "after": "PASS"}


def _takes_over(ground, first, second, at_least=3):
    """The second run is whole, and took over what the first had measured."""
    second.ends_with(0).has(**WHOLE)
    taken = second.resumed
    ground.expect(taken >= at_least, f"{taken} results taken over, {len(first.measured)} had been measured")
    ground.expect(not ground.journals(), "a journal is left open")
    ground.say(f"{taken} of {len(second.planned)} taken over")


@fault(
    "a run is killed (SIGKILL) in the middle, then started again",
    "the second measures only what is missing, and says of each result where it is from",
)
def controller_killed(ground):
    ground.trials(KILL.format("os.getpid()"))
    first = ground.pytest()
    _takes_over(ground, first, ground.pytest())


@fault(
    "the controller of -n2 is killed in the middle, then started again",
    "what arrived is taken over, the rest is measured",
)
def controller_killed_with_workers(ground):
    ground.trials("if unineuron_case.control: time.sleep(1)\n" + KILL.format("os.getppid()"))
    first = ground.pytest("-n2", models=TWO)
    _takes_over(ground, first, ground.pytest("-n2", models=TWO), at_least=1)


@fault(
    "a run is killed in the middle; a report is asked of its journal",
    "it has what was measured, NOT_RUN for the rest, and is incomplete: accept and gate refuse it",
)
def controller_killed_and_reported(ground):
    run = ground.recover(ground.trials(KILL.format("os.getpid()")).pytest())
    run.has(before="PASS", after="NOT_RUN")
    ground.expect(run.recovered and run.recovered[0]["incomplete"], "the report is not incomplete")
    report = ground.root / "recovered-0-0" / "generalization_eval_report.json"
    for command in (("accept", report, "--baseline", "b.json"), ("gate", report, "--fail-on=never")):
        done = ground.cli(*command)
        ground.expect(done.status in (22, 23), f"{command[0]} ends with {done.status}")


@fault("a run is killed twice at different places, then started again", "what both measured is united")
def controller_killed_twice(ground):
    ground.trials(
        MEASURES,
        prepare="""
        kills = len([name for name in os.listdir(os.path.dirname(os.environ["FAULTS_WITNESS"])) if name[-4:] == ".log"])
        @pytest.fixture(autouse=True)
        def killing(request, unineuron_case):
            name = request.node.name
            if kills == 1 and name == "test_here[neox-a]" or kills == 2 and name == "test_after[neox-a~untrained]":
                os.kill(os.getpid(), signal.SIGKILL)
    """,
    )
    ground.pytest()
    second = ground.pytest()
    ground.expect(len(second.planned) == 6, "the second did not come to collect")
    _takes_over(ground, second, ground.pytest(), at_least=5)


@fault("two runs resume the attempt of a third at once", "both are whole; no journal is left open")
def resumed_twice_at_once(ground):
    ground.trials(KILL.format("os.getpid()") + "\ntime.sleep(0.5)")
    first = ground.pytest()
    started = [ground.start(), ground.start()]
    for run in [ground.ended(each) for each in started]:
        _takes_over(ground, first, run)


@fault("two runs at once in one folder", "both end with 0, and the report that stays is whole and one of theirs")
def two_runs_at_once(ground):
    ground.trials(MEASURES + "\ntime.sleep(0.5)")
    started = [ground.start(), ground.start()]
    for run in [ground.ended(each) for each in started]:
        run.ends_with(0).has(**WHOLE)
    done = ground.cli("validate", "evaluation/generalization_eval_report.json", *ground.journals("done"))
    ground.expect(done.status == 0, "what is left is not whole")
    ground.expect(not ground.journals(), "a journal is left open")


@fault(
    "a run begins while another goes on in the same folder, which is then killed",
    "the one that ended took nothing from the one that was alive; a third resumes the killed one",
)
def one_of_two_runs_killed(ground):
    ground.trials("if once():\n    time.sleep(4)\n    os.kill(os.getpid(), signal.SIGKILL)\n" + MEASURES)
    slow = ground.start()
    import time

    time.sleep(2)
    quick = ground.pytest().ends_with(0).has(**WHOLE)
    ground.expect(quick.resumed == 0, "took results of a run that was alive")
    killed = ground.ended(slow)
    ground.expect(killed.status == -9, f"ended with {killed.status}")
    third = ground.pytest().ends_with(0).has(**WHOLE)
    ground.expect(third.resumed == 2, f"took over {third.resumed} of 2")


@fault("a run gets SIGTERM in the middle", "it dies; its journal has what was measured and is resumed")
def terminated(ground):
    ground.trials(KILL.format("os.getpid()").replace("SIGKILL", "SIGTERM"))
    first = ground.pytest()
    ground.expect(first.status in (-15, 143), f"ended with {first.status}")
    _takes_over(ground, first, ground.pytest())


@fault("a run gets SIGINT (Ctrl-C) in the middle", "exit 2; the report has what was measured, NOT_RUN for the rest")
def interrupted(ground):
    run = ground.trials(KILL.format("os.getpid()").replace("SIGKILL", "SIGINT")).pytest()
    run.ends_with(2).has(before="PASS", after="NOT_RUN")
    _takes_over(ground, run, ground.pytest())


@fault("the controller of -n2 gets SIGINT", "exit 2; everything planned is in the report")
def controller_interrupted(ground):
    body = """
if unineuron_case.id == "neox-a~untrained":
    time.sleep(1)
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(1)
"""
    ground.struck = ("test_here", "test_after")  # workers go on for a moment, and nobody listens
    run = ground.trials(body + MEASURES).pytest("-n2", models=TWO)
    run.ends_with(2).has(before="PASS")


@fault(
    "a trial ends the process with os._exit(0), which no plugin can see",
    "no report claims anything; the journal has what was measured, and the next run takes it over",
)
def exits_without_a_word(ground):
    first = ground.trials("if unineuron_case.control and once(): os._exit(0)\n" + MEASURES).pytest()
    ground.expect(first.report is None, "there is a report")
    done = ground.cli("gate", "evaluation/generalization_eval_report.json", "--fail-on=never")
    ground.expect(done.status == 23, f"gate ends with {done.status}")
    _takes_over(ground, first, ground.pytest())


@fault(
    "the process is killed while it writes the report over an older one",
    "the older is there as it was; the journal makes the new one",
)
def killed_while_writing(ground):
    ground.pytest().ends_with(0)
    old = (ground.out / "generalization_eval_report.json").read_bytes()
    ground.write(
        "conftest.py",
        """
        import os, signal
        def pytest_sessionfinish(): pass
        def killed(*_):
            os.kill(os.getpid(), signal.SIGKILL)
        os.fsync = killed
    """,
    )
    run = ground.pytest()
    ground.expect(run.status == -9, f"ended with {run.status}")
    ground.expect((ground.out / "generalization_eval_report.json").read_bytes() == old, "the older was changed")
    ground.recover(run).has(**WHOLE)


@fault(
    "pytest.exit('…', returncode=0) in a trial",
    "what was not reached is NOT_RUN, the journal stays open, and accept refuses the report",
)
def leaves_with_zero(ground):
    run = ground.trials("if once(): pytest.exit('enough', returncode=0)\n" + MEASURES).pytest()
    run.has(before="PASS", after="NOT_RUN")
    done = ground.cli("accept", "--baseline", "b.json")
    ground.expect(done.status == 23, f"accept ends with {done.status}")
    ground.expect(len(ground.journals()) == 1, "the journal was closed")


@fault(
    "a trial forks, and the child goes on as if it were pytest",
    "the report is whole, every item is there once; nothing is measured twice in it",
)
def forks_and_goes_on(ground):
    ground.trials("if not unineuron_case.control and once():\n    os.fork()\n" + MEASURES)
    run = ground.pytest().ends_with(0).has(**WHOLE)
    import time

    time.sleep(2)
    done = ground.cli("validate", "evaluation/generalization_eval_report.json", *ground.journals("done"))
    ground.expect(done.status == 0, f"validate: {done.text}")
    ground.expect(run.report is not None, "no report")


@fault("a trial forks, and the child measures and ends itself", "its numbers are the child's own; the report is whole")
def forks_and_ends(ground):
    ground.trials('if os.fork() == 0:\n    measure("size", 99, above=0.5)\n    os._exit(0)\nos.wait()\n' + MEASURES)
    run = ground.pytest().ends_with(0).has(**WHOLE)
    ground.expect("99" not in str(run.report["trials"]), "a number of the child is in the report")

"""What is selected, stopped at, repeated or left out."""

from tests.faults.ground import MEASURES
from tests.faults.registry import fault

MISSES = "measure('size', 0.1, above=0.5)"


@fault("-x after a miss", "exit 1; what was not reached is NOT_RUN; the journal stays open for the rest")
def stops_at_the_first(ground):
    ground.trials(MISSES).pytest("-x").ends_with(1).has(before="PASS", here="NA", after="NOT_RUN")
    ground.expect(len(ground.journals()) == 1, "the journal was closed")


@fault("--lf after a miss", "what is left out is no PASS; such a report is no baseline without --partial")
def last_failed_only(ground):
    ground.trials(MISSES).pytest().ends_with(1)
    run = ground.pytest("--lf").ends_with(1)
    ground.expect("PASS" not in run.outcomes.values(), "something passes")
    ground.trials()
    again = ground.pytest("--lf").ends_with(0)
    ground.say(f"items in it: {len(again.planned)} of 6")
    done = ground.cli("accept", "--baseline", "b.json")
    ground.expect(done.status == 23, f"accept ends with {done.status}")


@fault("--lf against a baseline, nothing regressed", "what --lf left out is not taken for missing")
def last_failed_against_a_baseline(ground):
    from tests.faults.baseline import baseline

    baseline(ground)
    ground.trials(MISSES).pytest().ends_with(1)
    ground.trials()
    run = ground.pytest("--lf", "--unineuron-baseline=baseline.json")
    run.ends_with(0, 23).never_says("missing: before")


@fault("-k selects nothing", "exit 5 and no report; an older one is as it was")
def selects_nothing(ground):
    ground.pytest().ends_with(0)
    old = (ground.out / "generalization_eval_report.json").read_bytes()
    ground.pytest("-k", "nothing").ends_with(5)
    ground.expect((ground.out / "generalization_eval_report.json").read_bytes() == old, "the older report was changed")


@fault("--deselect of the subjects: only controls run", "no claim passes without its subject")
def deselects_the_subjects(ground):
    run = ground.pytest("--deselect", "test_trials.py::test_here[neox-a]")
    run.has(before="PASS", here="NOT_RUN", after="PASS")


@fault("--deselect of the controls: only subjects run", "no claim passes without a finished control")
def deselects_the_controls(ground):
    run = ground.pytest("--deselect", "test_trials.py::test_here[neox-a~untrained]")
    run.ends_with(0).has(before="PASS", here="NA", after="PASS")


@fault("a conftest removes items without telling anybody", "no control, no PASS; never more than was measured")
def conftest_removes_items(ground):
    ground.write(
        "conftest.py",
        """
        import pytest
        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(items):
            items[:] = [item for item in items if "test_here[neox-a~" not in item.nodeid]
    """,
    )
    run = ground.pytest()
    ground.expect(run.outcome("here") in ("NA", "NOT_RUN", "ERROR"), f"here is {run.outcome('here')}")
    ground.struck = ("test_here",)


@fault("a conftest runs an item twice", "the later counts, and the report says that it ran again")
def conftest_repeats_items(ground):
    ground.write("conftest.py", "def pytest_collection_modifyitems(items):\n    items.append(items[2])\n")
    run = ground.pytest().has(before="PASS", here="PASS", after="PASS")
    ground.expect("ran again" in str(run.report), "the report does not say that it ran again")


@fault("--collect-only against an older report", "nothing is written; the older report is as it was")
def collects_only(ground):
    ground.pytest().ends_with(0)
    old = (ground.out / "generalization_eval_report.json").read_bytes()
    ground.pytest("--collect-only").ends_with(0)
    ground.expect((ground.out / "generalization_eval_report.json").read_bytes() == old, "the older report was changed")
    ground.expect(not ground.journals(), "a journal is left open")


@fault("a miss that does not come again, under --reruns (pytest-rerunfailures)", "PASS, with a note that it ran again")
def flaky(ground):
    run = ground.trials("value = 0.1 if once() else value\n" + MEASURES)
    run = run.pytest("-p", "rerunfailures", "--reruns=1").has(before="PASS", here="PASS", after="PASS")
    ground.expect("ran again after FAIL" in str(run.report), "the report does not say that it ran again")


@fault("the terminal, the cache and xdist are switched off (-p no:…)", "the report is whole")
def without_plugins(ground):
    args = [part for name in ("terminal", "cacheprovider", "xdist") for part in ("-p", f"no:{name}")]
    ground.pytest(*args).ends_with(0).has(before="PASS", here="PASS", after="PASS")


@fault("two trials in two files have one name", "a collection error that names both; not exit 0")
def one_name_twice(ground):
    ground.trials(name="test_again.py")
    run = ground.pytest()
    ground.expect(run.status not in (0, 5), f"exit {run.status}")
    run.says("trial id 'before' is that of")
    ground.struck = ("test_before", "test_here", "test_after")


@fault("one of two files cannot be imported", "exit 2: nothing is judged on a part of the trials")
def import_error(ground):
    ground.write("test_broken.py", "import nothing_of_this_name\n")
    run = ground.pytest()
    ground.expect(run.status == 2, f"exit {run.status}")

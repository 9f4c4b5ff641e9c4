"""Runs with workers: they give the results of serial runs, and lost results are reported."""

import pytest

from tests.plugin.inner import ONE

CLAIMS = """
import os, time

@pytest.mark.gt2(source="x")
def test_corpora(unineuron_case, unineuron_corpus, worker_id, record_property):
    record_property("worker", worker_id)
    measure('size', 0.1 if unineuron_case.control else 0.9 + len(unineuron_corpus) / 1000, above=0.5)

@pytest.mark.gt3(source="x")
def test_weights(unineuron_case, worker_id, record_property):
    record_property("worker", worker_id)
    measure('size', 0.1 if unineuron_case.control else 0.2, above=0.5)

@pytest.mark.gt3(source="x")
def test_vacuous():
    measure('size', 0.9, above=0.5)
"""
NEVER = "--unineuron-fail-on=never"
BOTH = "--unineuron-model=nano:neox-a", "--unineuron-model=nano:gpt2-a"
SUMMARY = "evaluation/generalization_eval_summary.json"


def test_serial_and_parallel_give_the_same_summary(trials):
    """The files are identical."""
    trials.write(CLAIMS)
    trials.run(NEVER)
    serial = (trials.path / SUMMARY).read_bytes()
    (trials.path / SUMMARY).unlink()
    found = trials.run(NEVER, "-n2")
    assert found.ret == 0
    assert (trials.path / SUMMARY).read_bytes() == serial


@pytest.mark.parametrize(
    "mode",
    [
        "load",
        *(pytest.param(m, marks=pytest.mark.slow) for m in ("loadscope", "loadfile", "loadgroup", "worksteal", "each")),
    ],
)
def test_every_distribution_mode_loses_nothing(trials, mode):
    """Items of one model run on one worker with ``load`` only. All modes give the same outcomes."""
    found = trials.write(CLAIMS).run(NEVER, *BOTH, "-n2", f"--dist={mode}")
    assert found.ret == 0
    assert {t["name"]: t["subjects"]["neox-a"]["outcome"] for t in found.report["trials"]} == {
        "corpora[news]": "PASS",
        "corpora[code]": "PASS",
        "corpora[multilingual]": "PASS",
        "weights": "FAIL",
        "vacuous": "VACUOUS",
    }
    assert found.report["incomplete"] == []


def test_a_model_stays_on_one_worker(trials):
    """All items of a model run on one worker, and two models use two workers."""
    found = trials.write(CLAIMS).run(NEVER, "-n2", "--junitxml=junit.xml")
    assert found.ret == 0
    import xml.etree.ElementTree as ET

    workers = {}
    for case in ET.parse(trials.path / "junit.xml").iter("testcase"):
        name = case.get("name")
        for prop in case.iter("property"):
            if prop.get("name") == "worker":
                model = name.partition("[")[2].split("-news")[0].split("~")[0].split("]")[0][:6]
                workers.setdefault(model, set()).add(prop.get("value"))
    assert {model: len(used) for model, used in workers.items()} == {"neox-a": 1, "gpt2-a": 1}
    assert len(set().union(*workers.values())) == 2


def test_ordinary_tests_are_distributed_by_xdist(trials):
    """Without trials the scheduler is that of xdist."""
    trials.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("n", range(30))
        def test_plain(n):
            pass
        """
    )
    found = trials.run("-n2")
    found.result.assert_outcomes(passed=30)


def test_trials_and_ordinary_tests_together(trials):
    """Every item runs once."""
    plain = "\n@pytest.mark.parametrize('n', range(7))\ndef test_plain(n):\n    pass\n"
    found = trials.write(CLAIMS + plain).run(NEVER, *BOTH, "-n2", "--unineuron-controls=untrained")
    found.result.assert_outcomes(passed=7 + 2 * (3 * 2 + 2 + 2) - 2)
    assert ", 2 vacuous in " in found.result.outlines[-1]


KILLED = """
import os

@pytest.fixture
def maybe(unineuron_case):
    if {where!r} == "setup" and unineuron_case.id == "neox-a~shuffled":
        os.kill(os.getpid(), 9)

@pytest.mark.gt3(source="x")
def test_first(unineuron_case):
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)

@pytest.mark.gt3(source="x")
def test_killed(unineuron_case, maybe):
    if {where!r} == "call" and unineuron_case.id == "neox-a~shuffled":
        os.kill(os.getpid(), 9)
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)

@pytest.mark.gt3(source="x")
def test_last(unineuron_case):
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
"""


@pytest.mark.parametrize("where", [pytest.param("setup", marks=pytest.mark.slow), "call"])
def test_a_killed_worker_loses_one_item(trials, where):
    """The item that it ran is an ERROR, all others have results, and the exit status says that one was lost."""
    found = trials.write(KILLED.format(where=where)).run(NEVER, "-n2")
    assert found.ret == 22
    assert found.arms("killed")["shuffled"]["outcome"] == "ERROR"
    assert "worker process died" in found.arms("killed")["shuffled"]["reason"]
    assert found.outcome("killed") == "NA"
    for name in ("first", "last"):
        for model in ("neox-a", "gpt2-a"):
            assert found.outcome(name, model) == "PASS"
    assert found.report["incomplete"]
    found.result.stdout.fnmatch_lines(["INCOMPLETE: *", "Exit status 22: results were lost."])


def test_a_killed_worker_that_is_not_replaced(trials):
    """With --max-worker-restart=0 the items that it had not run are NOT_RUN, and no trial without them is a PASS."""
    found = trials.write(KILLED.format(where="call")).run(NEVER, "-n1", "--max-worker-restart=0")
    assert found.ret == 22
    assert found.outcome("first") == "PASS"
    assert found.arms("last")["shuffled"]["outcome"] == "NOT_RUN"
    assert found.outcome("last") == "NA"


ALL_KILLED = """
import os

@pytest.fixture(autouse=True)
def killing():
    os.kill(os.getpid(), 9)

@pytest.mark.gt3(source="x")
def test_one(unineuron_case):
    measure('size', 0.9, above=0.5)

@pytest.mark.gt3(source="x")
def test_two(unineuron_case):
    measure('size', 0.9, above=0.5)

def test_plain():
    pass
"""


def test_trials_without_any_result_are_named(trials):
    """Every worker dies before its first result. The collected trials are named, and no report is written."""
    found = trials.write(ALL_KILLED).run(NEVER, "-n1", "--max-worker-restart=0", "--unineuron-model=nano:neox-a")
    assert found.ret == 22
    assert found.report is None
    lost = [line for line in found.result.outlines if line.startswith("INCOMPLETE: ")]
    for name in ("test_one[neox-a]", "test_two[neox-a]", "test_two[neox-a~shuffled]"):
        assert sum(name in what for what in lost) == 1
    assert not any("test_plain" in what for what in lost)
    found.result.stdout.fnmatch_lines(["Nothing was measured, so no report was written."])


def test_stopping_at_the_first_failure(trials):
    """With -x, trials that were not reached are NOT_RUN, with and without workers."""
    body = CLAIMS.replace("0.9 + len", "0.2 + len")
    serial = trials.write(body).run("-x", "--unineuron-model=nano:neox-a")
    assert serial.ret == 1
    assert serial.outcome("corpora[news]") == "FAIL" or serial.outcome("corpora[news]") == "NA"
    assert serial.outcome("vacuous") == "NOT_RUN"
    parallel = trials.write(body).run("-x", "-n2", "--unineuron-model=nano:neox-a")
    assert parallel.ret in (1, 2)
    assert parallel.outcome("vacuous") == "NOT_RUN"


def test_workers_without_any_trial_selected(trials):
    """If everything is deselected, the exit status is 5, as in pytest, and no report is written."""
    found = trials.write(CLAIMS).run("-n2", "-k", "nothing")
    assert found.ret == 5
    assert found.report is None


def test_bad_options_end_a_parallel_run_at_once(trials):
    """The controller reports the error before it starts workers."""
    found = trials.write(CLAIMS).run("-n2", "--unineuron-model=nano:gpt9")
    assert found.ret == 4
    found.result.stderr.fnmatch_lines(["ERROR: model nano:gpt9: there is no such nano model*"])


def test_the_worst_result_of_all_workers_counts(trials):
    """With --dist=each, an item that holds on one worker only has not held, whichever worker ends first."""
    body = """
@pytest.mark.gt3(source="x")
def test_claim(unineuron_case, worker_id):
    measure('size', 0.1 if unineuron_case.control or worker_id == 'gw0' else 0.9, above=0.5)
"""
    found = trials.write(body).run(NEVER, *ONE, "-n2", "--dist=each")
    assert found.outcome("claim") == "FAIL"
    assert found.trial("claim")["subjects"]["neox-a"]["cases"][0]["subject"]["notes"] == []

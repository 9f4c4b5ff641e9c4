"""Scheduling under ``-n``: which worker runs which items, and how many workers there are."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from pytest_unineuron.models.loading.source import sources_by_label
from pytest_unineuron.options.settings import Settings
from pytest_unineuron.plugin import memory
from pytest_unineuron.system import machine
from tests.plugin.inner import HOLDS, ONE

NEVER = "--unineuron-fail-on=never"
LOGGED = """
import os
from pathlib import Path

HERE = Path(__file__).parent

def log(what):
    with (HERE / "log.txt").open("a") as file:
        file.write(f"{os.environ['PYTEST_XDIST_WORKER']} {what}\\n")

@pytest.mark.parametrize("number", range(4))
@pytest.mark.gt3(source="x", controls=["untrained"])
def test_logged(unineuron_case, number):
    log(f"{unineuron_case.id} {number}")
    if unineuron_case.id == DIES and number == 1 and not (HERE / "died").exists():
        (HERE / "died").touch()
        os.kill(os.getpid(), 9)
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
"""
PLAIN = """
@pytest.mark.parametrize("number", range(20))
def test_plain(number):
    log(f"plain {number}")
"""
BOTH = ("neox-a", "gpt2-a")


def log_entries(trials):
    """The worker, the model and the name of every item, in the order in which they ran."""
    lines = (trials.path / "log.txt").read_text().splitlines()
    return [(line.split()[0], line.split()[1].partition("~")[0], line.partition(" ")[2]) for line in lines]


def workers_of(trials, what):
    """The workers that ran items of one kind: those of a model, or ordinary tests."""
    return {worker for worker, kind, _ in log_entries(trials) if kind == what}


def model_of_size(trials, name, weights):
    """The folder of a model whose files declare this many weights. It cannot be loaded."""
    folder = trials.path / name
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    table = json.dumps({"w": {"dtype": "F16", "shape": [weights], "data_offsets": [0, 2 * weights]}}).encode()
    (folder / "model.safetensors").write_bytes(len(table).to_bytes(8, "little") + table)
    return folder


@pytest.fixture
def memory_filling_weights():
    """A number of weights of which no two models fit into memory, also if some of it becomes free."""
    free = machine.free_memory()
    if free is None:
        pytest.skip("the system does not say how much memory is free")
    return free


# -- items of one model run on one worker ----------------------------------------------------------------------


def test_a_dead_workers_items_go_to_its_replacement(trials):
    """The item that killed its worker is lost, and all others run once. The worker of the other model goes on."""
    found = trials.write(LOGGED.replace("DIES", "'neox-a'")).run(NEVER, "-n2")
    assert found.ret == 22
    ran = Counter(what for _, _, what in log_entries(trials))
    assert len(ran) == 2 * 4 * 2
    assert set(ran.values()) == {1}
    assert len(workers_of(trials, "neox-a")) == 2
    assert len(workers_of(trials, "gpt2-a")) == 1
    cases = {case["variant"]: case["outcome"] for case in found.trial("logged")["subjects"]["neox-a"]["cases"]}
    assert cases == {"0": "PASS", "1": "ERROR", "2": "PASS", "3": "PASS"}


def test_an_item_that_killed_its_worker_can_be_run_again(trials):
    """A plugin reruns it by xdist's hook, as pytest-rerunfailures does. Its result counts, the exit status tells."""
    trials.pytester.makeconftest(
        """
        def pytest_handlecrashitem(crashitem, report, sched):
            sched.mark_test_pending(crashitem)
            report.outcome = "rerun"
        """
    )
    found = trials.write(LOGGED.replace("DIES", "'neox-a'")).run(NEVER, *ONE, "-n2")
    ran = Counter(what for _, _, what in log_entries(trials))
    assert {what: times for what, times in ran.items() if times > 1} == {"neox-a 1": 2}
    assert found.outcome("logged") == "PASS"
    assert found.ret == 22


@pytest.mark.parametrize(
    "args",
    [
        ("-n4",),
        pytest.param(("-n4", "--maxprocesses=3"), marks=pytest.mark.slow),
        pytest.param(("--dist=load", "--tx=3*popen"), marks=pytest.mark.slow),
    ],
)
def test_workers_without_a_model_end(trials, args):
    """Only as many workers as there are models run items. The others end without an error."""
    found = trials.write(LOGGED.replace("DIES", "''")).run(NEVER, *args)
    assert found.ret == 0
    assert [len(workers_of(trials, model)) for model in BOTH] == [1, 1]
    assert len({worker for worker, _, _ in log_entries(trials)}) == 2


def test_single_items_run_in_parallel(trials):
    """If each model has one item, both workers start theirs at once."""
    body = """
import time
from pathlib import Path

@pytest.mark.gt3(source="x", controls=[])
def test_met(unineuron_case):
    here = Path(__file__).parent
    (here / unineuron_case.model).touch()
    start = time.monotonic()
    while len(list(here.glob("*-a"))) < 2 and time.monotonic() < start + 300:
        time.sleep(0.01)
    assert len(list(here.glob("*-a"))) == 2
    measure('size', 1, above=0)
"""
    found = trials.write(body).run(NEVER, "-n2")
    assert found.ret == 0
    assert "asserted" not in str(found.report)


TEXTS = """
import os
from pathlib import Path

@pytest.mark.gt1(source="x", controls=[])
def test_short(unineuron_case):
    measure('size', 1, above=0)

@pytest.mark.gt2(source="x", controls=["untrained"])
def test_long(unineuron_case, unineuron_corpus, unineuron_universality):
    (Path(__file__).parent / f"{unineuron_case.corpus} {os.environ['PYTEST_XDIST_WORKER']}").touch()
    measure('size', 0.1 if unineuron_case.control else 0.9, above=0.5)
"""


@pytest.mark.slow
def test_a_worker_without_a_model_takes_over_a_text(trials):
    """All items of a text run on one worker."""
    few = ("--unineuron-tokens=1000", "--unineuron-correlation-tokens=500", "--unineuron-cache=stored")
    found = trials.write(TEXTS).run(NEVER, "-n2", *few)
    assert found.ret == 0
    assert {model for trial in found.report["trials"] for model in trial["subjects"]} == set(BOTH)
    ran = [tuple(path.name.split()) for path in trials.path.glob("* gw?")]
    assert len(ran) == len({text for text, _ in ran}) > 1
    assert len({worker for _, worker in ran}) == 2


def test_ordinary_tests_run_on_all_workers(trials):
    """Ordinary tests also run on workers that have no model, and each runs once."""
    found = trials.write(LOGGED.replace("DIES", "''") + PLAIN).run(NEVER, *ONE, "-n2")
    assert found.ret == 0
    assert len(workers_of(trials, "neox-a")) == 1
    plain = Counter(what for _, kind, what in log_entries(trials) if kind == "plain")
    assert sorted(plain.values()) == [1] * 20
    assert workers_of(trials, "plain") - workers_of(trials, "neox-a")


def test_workers_that_collect_different_items_are_reported(trials):
    """The error is reported once, as by xdist, and no criterion passes."""
    body = HOLDS.replace("test_good", "test_{os.environ['PYTEST_XDIST_WORKER']}")
    text = f"import os\nexec(f'''{body}''')"
    found = trials.write(text).run("-n2", *ONE)
    assert found.ret != 0
    found.result.stdout.fnmatch_lines(["*Different tests were collected between gw* and gw*"])
    found.result.assert_outcomes(errors=1)
    assert found.summary is None or "PASS" not in found.summary["Checklist"].values()


# -- number of workers -----------------------------------------------------------------------------------------


def test_models_that_do_not_fit_together_share_a_worker(trials, memory_filling_weights):
    """Each of two models needs the whole memory, so one worker runs all trials, and a line says so."""
    models = [f"--unineuron-model={model_of_size(trials, name, memory_filling_weights)}" for name in ("one", "two")]
    found = trials.write(LOGGED.replace("DIES", "''") + PLAIN).run(NEVER, *models, "-n2")
    assert found.ret == 0
    found.result.stdout.fnmatch_lines(["Trials run on 1 of 2 workers: more models do not fit into memory."])
    assert workers_of(trials, "one") == workers_of(trials, "two")
    assert len(workers_of(trials, "one")) == 1
    assert workers_of(trials, "plain") - workers_of(trials, "one")


def test_memory_is_counted_in_the_precision_of_the_run(trials):
    """A worker needs memory for a model, a control and the process. Float32 takes twice the bytes of bfloat16."""
    (source,) = sources_by_label((str(model_of_size(trials, "one", 10**9)),)).values()
    settings = Settings()
    assert memory.process_bytes(source, settings) == memory.PROCESS_BYTES + 2 * 4 * 10**9
    assert memory.process_bytes(source, replace(settings, dtype="bfloat16")) == memory.PROCESS_BYTES + 2 * 2 * 10**9


def test_memory_for_seeds_is_counted(trials):
    """A worker also needs memory for the seeds, and up to --unineuron-memory for their comparison."""
    (source,) = sources_by_label((str(model_of_size(trials, "one", 10**9)),)).values()
    settings = replace(Settings(), seed=(str(model_of_size(trials, "two", 10**9)),), memory=3)
    assert memory.process_bytes(source, settings) == memory.PROCESS_BYTES + 3 * 4 * 10**9 + 3 * 2**30


def test_missing_and_damaged_models_count_as_nothing(trials):
    """Their size is not known. The error is reported when they are loaded."""
    damaged = model_of_size(trials, "damaged", 5)
    (damaged / "model.safetensors").write_bytes(b"\xff" * 20)
    sources = sources_by_label((str(damaged), "nobody/nothing", "untrained:nano:neox-a")).values()
    assert [memory.weight_count(source) > 0 for source in sources] == [False, False, True]
    assert memory.processes_that_fit(sources, Settings()) >= 1


SHOW = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers():
    return {most}

def pytest_sessionstart(session):
    print("WORKERS:", session.config.option.numprocesses)
"""


def auto_worker_count(trials, *args, most=6):
    """The number of workers that ``-n auto`` starts if xdist would start ``most``."""
    trials.pytester.makeconftest(SHOW.format(most=most))
    found = trials.run("-n", "auto", "--co", "-s", *args)
    return int(found.result.stdout.str().partition("WORKERS: ")[2].split()[0])


@pytest.mark.parametrize(
    ("models", "most", "workers"), [((), 6, 2), (ONE[:1], 6, 1), (("--unineuron-model=nano:gpt2-b",), 1, 1), ((), 1, 1)]
)
def test_auto_starts_no_more_workers_than_models(trials, models, most, workers):
    """It also starts no more than xdist would."""
    assert auto_worker_count(trials.write(HOLDS), *models, most=most) == workers


def test_auto_starts_no_more_workers_than_fit_into_memory(trials, memory_filling_weights):
    """One worker is started, even if its model may not fit."""
    models = [
        f"--unineuron-model={model_of_size(trials, name, memory_filling_weights)}" for name in ("one", "two", "three")
    ]
    assert auto_worker_count(trials.write(HOLDS), *models) == 1


def test_auto_does_not_change_in_a_run_without_trials(trials):
    """Options of the plugin do not change the number that xdist chose."""
    trials.pytester.makepyfile("def test_plain(): pass")
    assert auto_worker_count(trials, "--unineuron-model=nano:neox-a") == 6


def test_auto_does_not_change_if_trials_are_few(trials):
    """Ordinary tests use more workers. The test files of the run tell whether most of them are trials."""
    trials.write(HOLDS)
    trials.pytester.makepyfile(test_a="def test_a(): pass", test_b="def test_b(): pass")
    assert auto_worker_count(trials) == 6
    assert auto_worker_count(trials, "test_trials.py") == 2
    assert auto_worker_count(trials, "test_trials.py::test_good[neox-a]") == 2


def test_the_number_in_the_variable_of_xdist_is_used(trials, monkeypatch):
    """The plugin does not lower a number that the user chose. A wrong option is reported nevertheless."""
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "5")
    assert auto_worker_count(trials.write(HOLDS)) == 6
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS")
    assert trials.run("-n", "auto", "--unineuron-model=nano:gpt9").ret == 4

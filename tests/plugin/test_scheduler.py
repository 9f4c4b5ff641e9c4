"""Which worker gets what under ``-n``, and how many workers there are."""

import json
import os
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


def logged(trials):
    """What ran, in this order: worker, model, and all of it."""
    lines = (trials.path / "log.txt").read_text().splitlines()
    return [(line.split()[0], line.split()[1].partition("~")[0], line.partition(" ")[2]) for line in lines]


def workers_of(trials, what):
    return {worker for worker, kind, _ in logged(trials) if kind == what}


def large(trials, name, weights):
    """A model that says it has so many weights. It is never loaded."""
    folder = trials.path / name
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    table = json.dumps({"w": {"dtype": "F16", "shape": [weights], "data_offsets": [0, 2 * weights]}}).encode()
    (folder / "model.safetensors").write_bytes(len(table).to_bytes(8, "little") + table)
    return folder


@pytest.fixture
def too_many():
    """So many weights that no two models of them fit into memory, whatever happens meanwhile."""
    free = machine.free_memory()
    if free is None:
        pytest.skip("the system does not say how much memory is free")
    return free


# -- one model, one worker -----------------------------------------------------------------------------------


def test_a_dead_workers_items_go_to_its_replacement(trials):
    """All but the one that killed it run exactly once, on one worker, and the other model's worker is not disturbed."""
    found = trials.write(LOGGED.replace("DIES", "'neox-a'")).run(NEVER, "-n2")
    assert found.ret == 22
    ran = Counter(what for _, _, what in logged(trials))
    assert len(ran) == 2 * 4 * 2
    assert set(ran.values()) == {1}
    assert len(workers_of(trials, "neox-a")) == 2
    assert len(workers_of(trials, "gpt2-a")) == 1
    cases = {case["variant"]: case["outcome"] for case in found.trial("logged")["subjects"]["neox-a"]["cases"]}
    assert cases == {"0": "PASS", "1": "ERROR", "2": "PASS", "3": "PASS"}


def test_an_item_that_killed_its_worker_can_be_run_again(trials):
    """pytest-rerunfailures hands it back; its result stands, but that a worker was lost is not forgotten."""
    pytest.importorskip("pytest_rerunfailures", reason="pytest-rerunfailures is not installed")
    body = LOGGED.replace("DIES", "'neox-a'")
    found = trials.write(body).run(NEVER, *ONE, "-n2", "-p", "rerunfailures", "--reruns=1")
    ran = Counter(what for _, _, what in logged(trials))
    assert {what: times for what, times in ran.items() if times > 1} == {"neox-a 1": 2}
    assert found.outcome("logged") == "PASS"
    assert found.ret == 22


@pytest.mark.parametrize("args", [("-n4",), ("-n4", "--maxprocesses=3"), ("--dist=load", "--tx=3*popen")])
def test_workers_without_a_model_end(trials, args):
    """Two models and more workers: two of them run everything, and the run ends well."""
    found = trials.write(LOGGED.replace("DIES", "''")).run(NEVER, *args)
    assert found.ret == 0
    assert [len(workers_of(trials, model)) for model in BOTH] == [1, 1]
    assert len({worker for worker, _, _ in logged(trials)}) == 2


def test_single_items_do_not_wait_for_each_other(trials):
    """One item per model: a worker starts its only one before all others have ended."""
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


def test_tests_that_are_no_trials_are_shared(trials):
    """They do not pile up on one worker because there are trials as well, and every one runs once."""
    found = trials.write(LOGGED.replace("DIES", "''") + PLAIN).run(NEVER, *ONE, "-n2")
    assert found.ret == 0
    assert len(workers_of(trials, "neox-a")) == 1
    plain = Counter(what for _, kind, what in logged(trials) if kind == "plain")
    assert sorted(plain.values()) == [1] * 20
    assert workers_of(trials, "plain") - workers_of(trials, "neox-a")


def test_workers_that_collect_different_items_are_reported(trials):
    """Once, as xdist does, and nothing passes."""
    body = HOLDS.replace("test_good", "test_{os.environ['PYTEST_XDIST_WORKER']}")
    text = f"import os\nexec(f'''{body}''')"
    found = trials.write(text).run("-n2", *ONE)
    assert found.ret != 0
    found.result.stdout.fnmatch_lines(["*Different tests were collected between gw* and gw*"])
    found.result.assert_outcomes(errors=1)
    assert found.summary is None or "PASS" not in found.summary["Checklist"].values()


# -- how many ------------------------------------------------------------------------------------------------


def test_models_that_do_not_fit_take_turns(trials, too_many):
    """Two, each larger than the memory: one worker holds a model, says so, and does all."""
    models = [f"--unineuron-model={large(trials, name, too_many)}" for name in ("one", "two")]
    found = trials.write(LOGGED.replace("DIES", "''") + PLAIN).run(NEVER, *models, "-n2")
    assert found.ret == 0
    found.result.stdout.fnmatch_lines(["Trials run on 1 of 2 workers: more models do not fit into memory."])
    assert workers_of(trials, "one") == workers_of(trials, "two")
    assert len(workers_of(trials, "one")) == 1
    assert workers_of(trials, "plain") - workers_of(trials, "one")


def test_memory_is_counted_in_the_precision_of_the_run(trials):
    """A model, a control made of it, and a process; twice the bytes in twice the precision."""
    (source,) = sources_by_label((str(large(trials, "one", 10**9)),)).values()
    settings = Settings()
    assert memory.process_bytes(source, settings) == memory.PROCESS_BYTES + 2 * 4 * 10**9
    assert memory.process_bytes(source, replace(settings, dtype="bfloat16")) == memory.PROCESS_BYTES + 2 * 2 * 10**9


def test_comparing_seeds_takes_memory_up_to_what_is_allowed(trials):
    """The seeds themselves, and what --unineuron-memory grants for comparing them."""
    (source,) = sources_by_label((str(large(trials, "one", 10**9)),)).values()
    settings = replace(Settings(), seed=(str(large(trials, "two", 10**9)),), memory=3)
    assert memory.process_bytes(source, settings) == memory.PROCESS_BYTES + 3 * 4 * 10**9 + 3 * 2**30


def test_models_that_are_not_here_or_damaged_count_for_nothing(trials):
    """Their size is not known; loading them says what is wrong."""
    damaged = large(trials, "damaged", 5)
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


def started(trials, *args, most=6):
    """How many workers -n auto starts where xdist would start so many."""
    trials.pytester.makeconftest(SHOW.format(most=most))
    found = trials.run("-n", "auto", "--co", "-s", *args)
    return int(found.result.stdout.str().partition("WORKERS: ")[2].split()[0])


@pytest.mark.parametrize(
    ("models", "most", "workers"), [((), 6, 2), (ONE[:1], 6, 1), (("--unineuron-model=nano:gpt2-b",), 1, 1), ((), 1, 1)]
)
def test_auto_starts_no_more_workers_than_models(trials, models, most, workers):
    """Nor more than xdist would."""
    assert started(trials.write(HOLDS), *models, most=most) == workers


def test_auto_starts_no_more_workers_than_fit_into_memory(trials, too_many):
    """At least one, however large the models."""
    models = [f"--unineuron-model={large(trials, name, too_many)}" for name in ("one", "two", "three")]
    assert started(trials.write(HOLDS), *models) == 1


def test_auto_is_left_alone_in_a_run_without_trials(trials):
    """Whatever our options say."""
    trials.pytester.makepyfile("def test_plain(): pass")
    assert started(trials, "--unineuron-model=nano:neox-a") == 6


def test_auto_is_left_alone_where_trials_are_few(trials):
    """Other tests want their workers; told by the files that were asked for."""
    trials.write(HOLDS)
    trials.pytester.makepyfile(test_a="def test_a(): pass", test_b="def test_b(): pass")
    assert started(trials) == 6
    assert started(trials, "test_trials.py") == 2
    assert started(trials, "test_trials.py::test_good[neox-a]") == 2


def test_a_number_that_was_asked_for_is_kept(trials, monkeypatch):
    """xdist's own variable is the user's word; and nonsense in an option is reported as ever."""
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "5")
    assert started(trials.write(HOLDS)) == 6
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS")
    assert trials.run("-n", "auto", "--unineuron-model=nano:gpt9").ret == 4


# -- threads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 1000])
def test_cores_are_divided_among_workers(trials, monkeypatch, workers):
    """Torch in each process has its share of the cores, and at least one."""
    import torch

    before = torch.get_num_threads()
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", str(workers))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    body = f"""
@pytest.mark.gt3(source="x", controls=[])
def test_threads(unineuron_lab):
    import torch
    assert torch.get_num_threads() == {max(1, cores // workers)}
    measure('size', 1, above=0)
"""
    try:
        found = trials.write(body).run(*ONE, NEVER)
    finally:
        torch.set_num_threads(before)
    assert found.ret == 0
    assert found.report["trials"][0]["subjects"]["neox-a"]["reason"].startswith("uncontrolled")


def test_a_worker_is_told_how_many_there_are(trials):
    """By xdist, in the variable that is read."""
    body = "import os\n\ndef test_told():\n    assert os.environ['PYTEST_XDIST_WORKER_COUNT'] == '2'\n"
    trials.write(body).run("-n2").result.assert_outcomes(passed=1)

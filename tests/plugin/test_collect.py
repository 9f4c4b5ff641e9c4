"""``python -m pytest_unineuron.collect``: fills the cache, alone or with several processes that share the documents."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open

from pytest_unineuron.cache.store import ENTRY_SUFFIX, Store
from pytest_unineuron.distributed.single_process import SINGLE_PROCESS, SingleProcess
from pytest_unineuron.plugin.fill_cache import CacheFiller, fill_cache

TRIALS = """
import numpy as np, pytest
from pytest_unineuron import measure

@pytest.mark.gt2(source="x", controls=["untrained", "rotation"])
def test_kurtosis(unineuron_neurons):
    measure("median", float(np.median(unineuron_neurons.kurtosis)), above=0)

@pytest.mark.gt3(source="x", controls=["shifted-documents"])
def test_matched(unineuron_universality):
    measure("excess", unineuron_universality.neurons.mean_excess, above=0)
"""
REQUESTS = 5
"""The number of results that the trials ask for: each on its subject and on its controls."""
DIES = """
import os, signal
from pathlib import Path
if os.environ.get("RANK") == "1" and Path("die").exists():
    from pytest_unineuron.activations.sweep import StatisticsConsumer
    start, started = StatisticsConsumer.start_batch, []
    def counted(self, batch):
        started.append(batch)
        if len(started) > 12:
            Path("die").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        start(self, batch)
    StatisticsConsumer.start_batch = counted
"""
"""A conftest that kills rank 1 after its first pass."""
COLLECT = "pytest_unineuron.collect"


@pytest.fixture(scope="module")
def arguments(two_seeds):
    """The arguments of pytest, which are those of collect."""
    own, other = two_seeds
    return [
        f"--unineuron-model={own}",
        f"--unineuron-seed={other}",
        "--unineuron-corpus=news",
        "--unineuron-tokens=2500",
        "--unineuron-correlation-tokens=1500",
        "--unineuron-batch=256",
        "--unineuron-dtype=float64",
        "-p",
        "no:cacheprovider",
    ]


class Project:
    """A folder with trials, in which commands are run in processes of their own."""

    def __init__(self, path, arguments):
        self.path = path
        self.arguments = arguments
        (path / "test_trials.py").write_text(TRIALS)

    def start(self, *command, **environment):
        """Start ``python -m`` with a command, and the arguments of pytest."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("UNINEURON_", "PYTEST_"))}
        return subprocess.Popen(
            [sys.executable, "-m", *command, *self.arguments],
            cwd=self.path,
            env=clean | environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def start_ranks(self, *more):
        """Start two ranks without torchrun."""
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
        return [self.start(COLLECT, *more, RANK=str(rank), **shared) for rank in range(2)]


@pytest.fixture
def project(tmp_path, arguments):
    return Project(tmp_path, arguments)


@pytest.fixture(scope="module")
def filled(tmp_path_factory, arguments):
    """The output of one process alone, and the results that it stored."""
    project = Project(tmp_path_factory.mktemp("alone"), arguments)
    (status,), (output,) = outputs([project.start(COLLECT, "--unineuron-cache=cache")])
    assert status == 0, output
    return output, entries(project.path / "cache")


def outputs(processes):
    """Wait for processes, and return their exit statuses and what each printed."""
    printed = [process.communicate(timeout=300)[0] for process in processes]
    return [process.returncode for process in processes], printed


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def entries(folder):
    """The results that are stored in a cache, by key: their descriptions and tensors."""
    store, found = Store(folder), {}
    for path in store.folder.glob(f"*{ENTRY_SUFFIX}"):
        with safe_open(path, framework="pt") as file:
            key = json.loads(file.metadata()["about"])["key"]
        entry = store.get(key)
        found[json.dumps(key, sort_keys=True)] = entry.description, entry.tensors
    return found


def _parts(description):
    """All dictionaries in a description."""
    if isinstance(description, dict):
        yield description
    parts = description.values() if isinstance(description, dict) else description
    for part in parts if isinstance(description, dict | list) else ():
        yield from _parts(part)


def assert_same(expected, found):
    """Check that two caches hold the same results, to 1e-9 of their size.

    If a unit is equally strong at several tokens, either may be named.
    """
    assert expected.keys() == found.keys()
    for key, (description, tensors) in expected.items():
        other, others = found[key]
        assert description == other
        named = {part["fields"]["tokens"]["tensor"] for part in _parts(description) if part.get("class") == "Extremes"}
        for name in tensors.keys() - named:
            torch.testing.assert_close(tensors[name], others[name], rtol=1e-9, atol=1e-9, equal_nan=True)


# -- processes -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_result_is_one_line_of_output(filled):
    """The line says what was computed, in how many forward passes."""
    output, stored = filled
    assert len(re.findall(rf"^\[\d/{REQUESTS}\] .*forward pass", output, re.MULTILINE)) == REQUESTS
    assert len(stored) == REQUESTS + len(("news", "prose"))  # and the sinks on each text


@pytest.mark.slow
def test_hosts_that_share_only_the_network_compute_what_one_process_does(project, filled, trials):
    """The cache of the first of two hosts is filled, to 1e-9 in float64. Pytest then makes no forward pass."""
    port = free_port()
    hosts = [
        project.start(
            "torch.distributed.run",
            "--nnodes=2",
            f"--node-rank={n}",
            "--nproc-per-node=1",
            "--master-addr=127.0.0.1",
            f"--master-port={port}",
            f"--local-addr=127.0.0.{n + 1}",
            "-m",
            COLLECT,
            f"--unineuron-cache=host{n}",
        )
        for n in range(2)
    ]
    statuses, (first, second) = outputs(hosts)
    assert statuses == [0, 0], first
    assert "forward pass" in first
    assert "forward pass" not in second
    assert_same(filled[1], entries(project.path / "host0"))
    assert entries(project.path / "host1") == {}
    cache = f"--unineuron-cache={project.path / 'host0'}"
    read = trials.write(TRIALS).run(*project.arguments, cache, "--unineuron-fail-on=never")
    assert read.ret == 0
    assert read.report["forward_passes"] == 0


@pytest.mark.slow
def test_a_lost_rank_is_named_and_a_rerun_goes_on(project, filled):
    """A rerun reads finished results from the cache, and the finished part of an unfinished result."""
    (project.path / "conftest.py").write_text(DIES)
    (project.path / "die").touch()
    statuses, (first, _) = outputs(project.start_ranks("--unineuron-cache=cache"))
    assert statuses == [1, -9], first
    assert re.search(r"rank 1 of 2 \(on .*, process \d+\) is lost while waiting for", first)
    assert "start the same command again" in first
    statuses, (first, _) = outputs(project.start_ranks("--unineuron-cache=cache"))
    assert statuses == [0, 0], first
    assert ": in the cache" in first
    assert "read part 1 of 2 (sweep), stored by an earlier attempt" in first
    assert_same(filled[1], entries(project.path / "cache"))


@pytest.mark.slow
def test_a_result_that_fails_does_not_stop_the_others(project, filled):
    """Every rank of torchrun skips a result that one rank cannot compute, so none waits for another."""
    broken = shutil.copytree(project.arguments[0].partition("=")[2], project.path / "broken")
    (broken / "model.safetensors").write_bytes(b"junk")
    command = ("torch.distributed.run", "--nproc-per-node=2", "-m", COLLECT, f"--unineuron-model={broken}")
    (status,), (output,) = outputs([project.start(*command, "--unineuron-cache=cache")])
    assert status == 1
    assert output.count("FAILED: ") == REQUESTS
    assert_same(filled[1], entries(project.path / "cache"))


# -- in this process -----------------------------------------------------------------------------------------


@pytest.fixture
def fill(trials, arguments):
    """A function that fills a cache in this process, and returns the exit status and the inner run."""
    trials.write(TRIALS)

    def run(*more, processes=SINGLE_PROCESS):
        filler = CacheFiller(processes)
        found = trials.run(*arguments, "--unineuron-cache=cache", *more, plugins=[filler])
        return found.ret or filler.status, found.result

    return run


class TwoProcesses(SingleProcess):
    """One of two processes, whose other one is not there."""

    count = 2


def test_only_a_single_process_may_take_all_gpus(fill):
    """The device ``balanced`` uses all GPUs, so it is refused if there are several processes."""
    status, result = fill("--unineuron-device=balanced", processes=TwoProcesses())
    assert status != 0
    result.stderr.fnmatch_lines(["*--unineuron-device=balanced: each of several processes would take all GPUs*"])


def test_a_cache_that_cannot_be_a_folder_is_refused(fill, trials):
    """Before anything is computed, since pytest would have to compute every result again."""
    (trials.path / "cache").write_text("a file")
    status, result = fill("-k", "kurtosis")
    assert status == 4
    result.stderr.fnmatch_lines(["*--unineuron-cache=*: cannot be written to: *; name another folder*"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["-k", "nothing"], "there is nothing to compute"),
        (["--unineuron-no-cache"], "there is no cache to fill"),
        (["-n", "2"], "leave out -n"),
    ],
)
def test_a_run_that_would_compute_nothing_is_an_error(fill, more, words):
    """The message says what to do instead."""
    status, result = fill(*more)
    assert status != 0
    assert words in result.stderr.str()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"RANK": "0"}, "RANK=0 is set, but the group of processes could not be initialised: "),
        ({"RANK": "0", "UNINEURON_RANK_TIMEOUT": "soon"}, "UNINEURON_RANK_TIMEOUT=soon: give a number of seconds"),
    ],
)
def test_a_rank_that_cannot_start_says_why(monkeypatch, capsys, environment, words):
    """The error is one line, also if the variables were not set by torchrun."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert fill_cache([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(words)

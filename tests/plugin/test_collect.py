"""``python -m pytest_unineuron.collect``: processes that share the documents come to what one of them would."""

import json
import os
import re
import socket
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open

from pytest_unineuron.cache.store import ENTRY_SUFFIX, Store

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


@pytest.fixture(scope="module")
def folders(tiny):
    return tiny("gpt2"), tiny("gpt2", seed=1)


@pytest.fixture
def project(tmp_path, folders):
    """A folder with trials, in which commands are run."""
    (tmp_path / "test_trials.py").write_text(TRIALS)
    return Project(tmp_path, folders)


class Project:
    """``arguments`` are those of pytest and of collect alike."""

    def __init__(self, path, folders):
        self.path = path
        self.arguments = [
            f"--unineuron-model={folders[0]}",
            f"--unineuron-seed={folders[1]}",
            "--unineuron-corpus=news",
            "--unineuron-tokens=2500",
            "--unineuron-correlation-tokens=1500",
            "--unineuron-batch=256",
            "--unineuron-dtype=float64",
            "-p",
            "no:cacheprovider",
        ]

    def start(self, *command, **environment):
        """A process in the folder."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("UNINEURON_", "PYTEST_"))}
        return subprocess.Popen(
            [sys.executable, "-m", *command, *self.arguments],
            cwd=self.path,
            env=clean | environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *command, **environment):
        """What a process said, and how it ended."""
        process = self.start(*command, **environment)
        said, _ = process.communicate(timeout=300)
        return process.returncode, said

    def ranks(self, *more, count=2, **environment):
        """The processes of a run without torchrun, rank by rank."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), **environment}
        return [self.start("pytest_unineuron.collect", *more, RANK=str(rank), **shared) for rank in range(count)]


TORCHRUN = ("torch.distributed.run", "--nproc-per-node=2")
COLLECT = "pytest_unineuron.collect"


def entries(folder):
    """What is kept in a cache: every result by its key, as numbers."""
    store, found = Store(folder), {}
    for path in store.folder.glob(f"*{ENTRY_SUFFIX}"):
        with safe_open(path, framework="pt") as file:
            key = json.loads(file.metadata()["about"])["key"]
        entry = store.get(key)
        found[json.dumps(key, sort_keys=True)] = entry.description, entry.tensors
    return found


def _parts(words):
    """All dictionaries in a description."""
    if isinstance(words, dict):
        yield words
    for part in words.values() if isinstance(words, dict) else words if isinstance(words, list) else ():
        yield from _parts(part)


def agree(one, other):
    """Whether two caches hold the same results, to 1e-9 of their size.

    Which of several tokens is named at which a unit is equally strong may depend on who looked first.
    """
    assert one.keys() == other.keys()
    for key, (words, tensors) in one.items():
        said, others = other[key]
        assert said == words
        named = {part["fields"]["tokens"]["tensor"] for part in _parts(words) if part.get("class") == "Extremes"}
        for name, tensor in tensors.items():
            if name in named:
                continue
            torch.testing.assert_close(tensor, others[name], rtol=1e-9, atol=1e-9, equal_nan=True)


def test_two_ranks_come_to_what_one_process_does(project):
    """In float64 to 1e-9: moments, extremes, partners and correlations; and pytest then makes no pass at all."""
    status, said = project.run(COLLECT, "--unineuron-cache=one")
    assert status == 0, said
    assert len(re.findall(r"^\[\d/5\] .*forward pass", said, re.MULTILINE)) == 5
    status, said = project.run(*TORCHRUN, "-m", COLLECT, "--unineuron-cache=two")
    assert status == 0, said
    agree(entries(project.path / "one"), entries(project.path / "two"))
    status, said = project.run("pytest", "--unineuron-cache=two", "--unineuron-fail-on=never")
    assert status == 0, said
    assert "Forward passes: 0 (" in said
    status, said = project.run(*TORCHRUN, "-m", COLLECT, "--unineuron-cache=two")
    assert said.count(": in the cache") == 5


def test_two_hosts_share_nothing_but_the_network(project):
    """Two agents on two loopback addresses, each with a cache of its own: the first one's is filled."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
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
    said = [host.communicate(timeout=300)[0] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], said
    assert "forward pass" in said[0]
    assert "forward pass" not in said[1]
    assert len(entries(project.path / "host0")) == 5
    assert entries(project.path / "host1") == {}


def test_a_lost_rank_is_named_and_a_rerun_goes_on(project):
    """What the others had finished is not done again."""
    (project.path / "conftest.py").write_text(DIES)
    (project.path / "die").touch()
    ranks = project.ranks("--unineuron-cache=kept")
    said = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [1, -9], said
    assert re.search(r"rank 1 of 2 \(on .*, process \d+\) is lost while waiting for", said[0])
    assert "start the same command again" in said[0]
    ranks = project.ranks("--unineuron-cache=kept")
    said = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    assert "part 1 of 2 (sweep) was finished before" in said[0]
    status, said = project.run(COLLECT, "--unineuron-cache=one")
    assert status == 0, said
    agree(entries(project.path / "one"), entries(project.path / "kept"))


def test_torchrun_names_a_rank_that_it_lost(project):
    """As it does by itself, and at once."""
    (project.path / "conftest.py").write_text(DIES)
    (project.path / "die").touch()
    status, said = project.run(*TORCHRUN, "-m", COLLECT, "--unineuron-cache=kept")
    assert status == 1
    assert re.search(r"rank *: 1 \(local_rank: 1\)", said)


def test_what_cannot_be_made_is_told_and_the_rest_is_made(project):
    """On all ranks alike: nobody waits for one that has failed."""
    project.arguments.append("--unineuron-context=2")
    status, said = project.run(*TORCHRUN, "-m", COLLECT, "--unineuron-cache=kept")
    assert status == 1
    assert said.count("FAILED: ") == 5


def test_one_process_alone_takes_all_gpus(project):
    """Several would be in each other's way."""
    ranks = project.ranks("--unineuron-cache=kept", "--unineuron-device=balanced")
    said = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert all(rank.returncode != 0 for rank in ranks)
    assert "--unineuron-device=balanced: each of several processes would take all GPUs" in said[0]


def test_a_cache_that_keeps_nothing_is_a_failure(project):
    """Everything would be made again by pytest."""
    (project.path / "kept").write_text("a file")
    status, said = project.run(COLLECT, "--unineuron-cache=kept", "-k", "kurtosis")
    assert status == 1
    assert "can no longer be written to" in said
    assert "results could not be stored; pytest computes them again" in said


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"RANK": "0"}, "RANK=0 is set, as for one of several processes, but they cannot meet: "),
        ({"RANK": "0", "UNINEURON_RANK_TIMEOUT": "soon"}, "UNINEURON_RANK_TIMEOUT=soon: give a number of seconds"),
    ],
)
def test_a_rank_that_cannot_start_says_why(project, environment, words):
    """In one line: whoever set these variables was not torchrun."""
    status, said = project.run(COLLECT, "--unineuron-cache=kept", **environment)
    assert status == 1
    assert words in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["-k", "nothing"], "there is nothing to compute"),
        (["--unineuron-no-cache"], "there is no cache to fill"),
        (["-n", "2"], "leave out -n"),
    ],
)
def test_what_makes_no_sense_is_an_error(project, more, words):
    """With what to do instead."""
    status, said = project.run(COLLECT, "--unineuron-cache=kept", *more)
    assert status != 0
    assert words in said

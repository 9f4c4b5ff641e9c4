"""The settings of the process during a run, and the maker of its processor."""

import os
import subprocess
import sys

import pytest
import torch  # noqa: F401 - before ctypes is replaced, as torch loads its libraries with it

from pytest_unineuron.system import machine, process

CONFIGURED = """
import os
from pytest_unineuron.system import process
process.configure(threads=1)
import torch
print(torch.get_num_threads(), os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"])
"""


class Library:
    """A C library that records how its allocator is configured."""

    def __init__(self, calls):
        self.mallopt = lambda option, size: calls.append((option, size))
        self.malloc_trim = lambda pad: calls.append("trim")


@pytest.fixture
def calls(monkeypatch):
    """The calls to the allocator, in a process in which the user has not set it."""
    for name in process.MALLOC:
        monkeypatch.delenv(name, raising=False)
    made = []
    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: Library(made))
    return made


def options(sizes):
    return list(zip(process.MALLOC.values(), sizes, strict=True))


def test_configuring_sets_what_the_user_has_not_set():
    """Threads are set, and variables of OpenMP that the user has not set."""
    environment = {name: value for name, value in os.environ.items() if name not in process.OPENMP}
    environment["GOMP_SPINCOUNT"] = "7"
    found = subprocess.run(
        [sys.executable, "-c", CONFIGURED], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["1", "PASSIVE", "7"]


def test_freed_memory_is_retained_but_in_a_tight_budget(calls):
    """The allocator is configured for a tight budget and afterwards as before."""
    process.configure()
    assert calls == options(process.RETAIN)
    with process.returning_memory(on=False):
        assert calls == options(process.RETAIN)
    calls.clear()
    with process.returning_memory():
        assert calls == [*options(process.RETURN), "trim"]
    assert calls[3:] == options(process.RETAIN)


def test_what_was_freed_can_be_returned_at_once(calls, monkeypatch):
    """The settings stay; a process that was not configured keeps what it has."""
    process.configure()
    calls.clear()
    process.return_freed_memory()
    assert calls == ["trim"]
    monkeypatch.setattr(process, "_configured", False)
    process.return_freed_memory()
    assert calls == ["trim"]


def test_an_allocator_that_the_user_configured_is_left_alone(calls, monkeypatch):
    """A single variable of glibc is enough."""
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    process.configure()
    with process.returning_memory():
        assert calls == []


def test_a_process_that_was_not_configured_is_left_alone(calls, monkeypatch):
    """A program that uses the package as a library keeps its own settings."""
    monkeypatch.setattr(process, "_configured", False)
    with process.returning_memory():
        assert calls == []


@pytest.mark.parametrize("error", [OSError("no such library"), AttributeError("mallopt"), TypeError("no name")])
def test_another_c_library_is_left_alone(monkeypatch, error):
    """Without glibc nothing is configured, and there is no error."""

    def library(_):
        raise error

    for name in process.MALLOC:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(process.ctypes, "CDLL", library)
    process.configure()
    with process.returning_memory():
        pass


def test_the_maker_of_the_processor_is_read_from_the_system(monkeypatch, tmp_path):
    """The source is /proc/cpuinfo, or else the platform module of Python."""
    for text, expected in (("vendor_id\t: GenuineIntel\n", True), ("vendor_id\t: AuthenticAMD\n", False)):
        (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
        monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "cpuinfo")
        assert machine.has_intel_cpu() is expected
    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "not there")
    monkeypatch.setattr(machine.platform, "processor", lambda: "Intel64 Family 6 Model 143, GenuineIntel")
    assert machine.has_intel_cpu()

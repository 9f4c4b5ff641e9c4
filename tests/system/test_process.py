"""What a process does with memory that is free again, and what it knows of its processor."""

import os
import platform
import subprocess
import sys

import pytest

from pytest_unineuron.system import machine, process

HELD = """
import ctypes
from pathlib import Path
from pytest_unineuron.system import process

process.settle()

def resident():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024

def after(megabytes=8, times=8):
    '''What is still held of a few arrays that are gone, behind one that is not.'''
    before = resident()
    arrays = [bytearray(b"x" * (megabytes << 20)) for _ in range(times)]
    last = bytearray(b"x" * (1 << 19))
    del arrays
    return resident() - before, last

kept, one = after()
with process.frugal():
    entered = resident()
    returned, two = after()
again, three = after()
print(kept, returned, again)
"""


def held(**environment):
    """Megabytes kept after ``settle``, while frugal, and after that."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", HELD], env=plain | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc is told")


@GLIBC
def test_memory_is_kept_for_the_next_array_unless_a_budget_counts_more():
    kept, returned, again = held()
    assert kept > 40
    assert returned < 5
    assert again > 40


@GLIBC
def test_what_the_user_says_stands():
    """Here that memory is to be returned at once."""
    assert max(held(MALLOC_MMAP_THRESHOLD_="65536")) < 5


@pytest.mark.parametrize("missing", [OSError("no such library"), AttributeError("mallopt"), TypeError("no name")])
def test_another_c_library_is_left_alone(monkeypatch, missing):
    def library(_):
        raise missing

    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    monkeypatch.setattr(process.ctypes, "CDLL", library)
    process.settle()
    with process.frugal():
        pass


def test_who_made_the_processor_is_read_from_the_system(monkeypatch, tmp_path):
    for text, intel in (("vendor_id\t: GenuineIntel\n", True), ("vendor_id\t: AuthenticAMD\n", False)):
        (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
        monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "cpuinfo")
        assert machine.intel() is intel
    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "not there")
    monkeypatch.setattr(machine.platform, "processor", lambda: "Intel64 Family 6 Model 143, GenuineIntel")
    assert machine.intel()

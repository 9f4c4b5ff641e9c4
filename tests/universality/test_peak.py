"""The peak of memory stays within the budget, measured in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_unineuron.corpora.blocks import cut
from pytest_unineuron.corpora.find import find
from pytest_unineuron.models.discovery.anatomy import dissect
from pytest_unineuron.models.loading.load import Loaded
from pytest_unineuron.universality import match
from pytest_unineuron.universality.seeds import Counterpart
from pytest_unineuron.universality.units import Member
from tests.models.tiny import build, tokenizer

PEAK = """
import resource, sys, torch
from pytest_unineuron.system import process
process.settle()
from tests.universality.test_peak import large
subject, seeds, batches, match = large()
torch.set_num_threads(1)
torch.linalg.qr(torch.randn(64, 64, dtype=torch.float64))
subject.observe(batches[0])
def used():
    return 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS:"))
open("/proc/self/clear_refs", "w").write("5")  # forget the peak so far
before = used()
match(subject, batches, seeds(), memory=float(sys.argv[1]))
peak = 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(before, peak)
"""


def large():
    """Two models of which the products take 268 MB, and a few tokens for them."""
    made = []
    for seed in (0, 3):
        model = build("gpt2", seed=seed, n_layer=8, n_inner=1024)
        made.append(Member(model, dissect(Loaded(model, tokenizer(), "", None))))
    batches = cut(find("news"), tokenizer(), context=64, budget=2500).batches(512)
    return made[0], lambda: [Counterpart(made[1], batches, room=0)], batches, match.match


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize("megabytes", [800, 250])
def test_the_peak_stays_within_the_budget(megabytes):
    """Measured in a process of its own: no more than 1.2 times models and budget, in one block and in several."""
    memory = megabytes * 1e6
    done = subprocess.run([sys.executable, "-c", PEAK, str(memory)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, peak = map(int, done.stdout.split())
    assert peak - before < 1.2 * memory

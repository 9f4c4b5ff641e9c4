"""How many threads PyTorch uses in each worker."""

import os

import pytest

from tests.plugin.inner import ONE

NEVER = "--unineuron-fail-on=never"


@pytest.mark.parametrize("workers", [1, 2, 1000])
def test_cores_are_divided_among_workers(trials, monkeypatch, workers):
    """PyTorch in each worker uses an equal part of the cores, and at least one."""
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


def test_xdist_sets_the_number_of_workers(trials):
    """Xdist sets the variable from which the number of threads is computed."""
    body = "import os\n\ndef test_count():\n    assert os.environ['PYTEST_XDIST_WORKER_COUNT'] == '2'\n"
    trials.write(body).run("-n2").result.assert_outcomes(passed=1)

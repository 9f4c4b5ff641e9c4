"""``--unineuron-device=auto``: the GPU of each process."""

from dataclasses import replace

import pytest

from pytest_unineuron.errors import OptionError
from pytest_unineuron.lab import models
from pytest_unineuron.lab.models import Models
from pytest_unineuron.options.settings import Settings
from pytest_unineuron.system.machine import chosen_gpu


@pytest.mark.parametrize(
    ("gpus", "environment", "device"),
    [
        (0, {}, "cpu"),
        (0, {"PYTEST_XDIST_WORKER": "gw1"}, "cpu"),
        (1, {}, "cuda"),
        (1, {"PYTEST_XDIST_WORKER": "gw5"}, "cuda"),
        (4, {}, "cuda:0"),
        (4, {"PYTEST_XDIST_WORKER": "gw0"}, "cuda:0"),
        (4, {"PYTEST_XDIST_WORKER": "gw3"}, "cuda:3"),
        (4, {"PYTEST_XDIST_WORKER": "gw6"}, "cuda:2"),
        (4, {"PYTEST_XDIST_WORKER": "popen-gw1"}, "cuda:0"),
        (4, {"LOCAL_RANK": "2", "PYTEST_XDIST_WORKER": "gw1"}, "cuda:2"),
        (2, {"LOCAL_RANK": "7"}, "cuda:1"),
    ],
)
def test_each_process_takes_a_gpu_of_its_own(gpus, environment, device):
    """Its number is the rank under torchrun or else that of the xdist worker, modulo the number of GPUs."""
    assert chosen_gpu(gpus, environment) == device


def test_spreading_a_model_needs_accelerate(monkeypatch):
    """Without accelerate, the error names the package. A device that does not exist is an error too."""
    balanced, missing = (Models(replace(Settings(), device=d), {}, lambda note: None) for d in ("balanced", "cuda:99"))
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r'=balanced: pip install "pytest-unineuron\[accelerate\]"'):
        _ = balanced.device
    with pytest.raises(OptionError, match="--unineuron-device=cuda:99: cannot be used here"):
        _ = missing.device
    monkeypatch.setattr(models, "find_spec", lambda name: True)
    assert balanced.device == "balanced"

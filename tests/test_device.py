"""--unineuron-device=auto: which GPU a process takes."""

import pytest

from pytest_unineuron.lab.device import chosen


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
def test_each_process_takes_its_own(gpus, environment, device):
    """By its rank under torchrun, else by its number among xdist's workers, in turn; the CPU where there is none."""
    assert chosen(gpus, environment) == device

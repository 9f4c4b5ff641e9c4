"""A pytest plugin inside the runs: what was collected and measured, written down apart from the package.

One line of JSON per fact, each in one call of the system, so that it stands whatever happens next.
"""

import json
import os
from json.encoder import JSONEncoder

import pytest

WHERE = "FAULTS_WITNESS"
_encode = JSONEncoder().encode  # trials patch json
_write, _open, _close = os.write, os.open, os.close


def note(**fact):
    """Append a fact."""
    file = _open(os.environ[WHERE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    _write(file, (_encode(fact) + "\n").encode("ascii"))
    _close(file)


def read(path):
    """The facts that were noted."""
    return [json.loads(line) for line in path.read_text("ascii").splitlines()] if path.exists() else []


def _of_trial(item):
    return any(item.get_closest_marker(name) for name in ("gt1", "gt2", "gt3"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Everything that is planned, before anybody deselects."""
    note(planned=[item.nodeid for item in items if _of_trial(item)])


def pytest_collection_finish(session):
    """How much of it is going to run."""
    note(selected=sum(map(_of_trial, session.items)))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item):
    """Everything that was measured by the time a body ended."""
    try:
        return (yield)
    finally:
        if _of_trial(item):
            from pytest_unineuron.plugin.protocol import RECORDER

            taken = item.stash[RECORDER].measurements
            if taken:
                note(measured=item.nodeid, values=[[m.name, m.value] for m in taken])

"""The start of a session in one process: its state is made once, and with it the hooks that finish it."""

from __future__ import annotations

import pytest

from pytest_unineuron.options import sources
from pytest_unineuron.plugin.finish import Finisher
from pytest_unineuron.plugin.session import Session

SESSION = pytest.StashKey[Session]()


def session_of(config: pytest.Config) -> Session:
    """Return the session of this process, made when a trial, an option or a worker needs it. Raises UnineuronError."""
    if SESSION not in config.stash:
        session = config.stash[SESSION] = Session(config, sources.read(config.getoption, config.getini))
        config.pluginmanager.register(Finisher(session), "unineuron-finisher")
    return config.stash[SESSION]

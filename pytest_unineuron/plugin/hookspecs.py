"""The hooks that this plugin calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


@pytest.hookspec
def pytest_unineuron_extensions(config: pytest.Config) -> Iterable[object]:
    """Return what ``pytest_unineuron.extend`` declared: functions, classes, families, or modules that hold them.

    It is for a plugin that decides what to add when the options are known; for others a decorator is enough. Called
    once, before the settings of a run are checked.
    """
    raise NotImplementedError

"""Do universal neurons generalize? Trials over models and corpora as pytest tests, each beside its null controls.

The public names are loaded when they are first used; importing the package imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_unineuron.errors import UnineuronError
    from pytest_unineuron.evidence.recorder import measure
    from pytest_unineuron.lab.arm import Arm
    from pytest_unineuron.lab.lab import Lab
    from pytest_unineuron.statistics.by_unit import LARGE, MEDIUM, SMALL, by_unit
    from pytest_unineuron.statistics.ranks import auroc, contrast, within
    from pytest_unineuron.statistics.resampling import Estimate, jackknife
    from pytest_unineuron.study.saved import load_report
    from pytest_unineuron.study.study import open as open

# Without "open", so that a star import does not hide Python's own.
__all__ = [
    "LARGE",
    "MEDIUM",
    "SMALL",
    "Arm",
    "Estimate",
    "Lab",
    "UnineuronError",
    "auroc",
    "by_unit",
    "contrast",
    "jackknife",
    "load_report",
    "measure",
    "within",
]

_HOMES = {
    "LARGE": "statistics.by_unit",
    "MEDIUM": "statistics.by_unit",
    "SMALL": "statistics.by_unit",
    "Arm": "lab.arm",
    "Estimate": "statistics.resampling",
    "Lab": "lab.lab",
    "UnineuronError": "errors",
    "auroc": "statistics.ranks",
    "by_unit": "statistics.by_unit",
    "contrast": "statistics.ranks",
    "jackknife": "statistics.resampling",
    "load_report": "study.saved",
    "measure": "evidence.recorder",
    "open": "study.study",
    "within": "statistics.ranks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)

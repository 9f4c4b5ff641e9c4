"""The version of a model that is measured, and the results that items will ask for. Imports no torch."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from pytest_unineuron import controls
from pytest_unineuron.statistics import SINKS

RUN = "run"
RUN_TOKENS = 2048
"""The most tokens of text that an instrument reads which makes a model run several times, as interventions do."""
RUNS = 8
"""About so often does such an instrument make a model run, for the forecast."""


@dataclass(frozen=True)
class Arm:
    """A version of a model: the model itself, or one draw of a control."""

    model: str
    control: str = ""
    draw: int = 1

    @property
    def seed(self) -> int:
        """The seed of the draw: the same in every process and for every model."""
        return zlib.crc32(f"{self.control}.{self.draw}".encode())

    def replaces(self, what: str) -> bool:
        """Whether the arm's control replaces a part, such as ``controls.MODEL`` or ``controls.TEXT``."""
        return bool(self.control) and controls.CONTROLS[self.control].replaces == what

    @property
    def activation_source(self) -> Arm:
        """The arm whose activations this one has: the model itself where only labels are permuted."""
        return Arm(self.model) if self.replaces(controls.LABELS) else self

    def __str__(self) -> str:
        """``neox-a``, ``neox-a~untrained`` or ``neox-a~untrained.2``, as in the ids of items."""
        draw = f".{self.draw}" if self.draw > 1 else ""
        return f"{self.model}~{self.control}{draw}" if self.control else self.model


@dataclass(frozen=True)
class Request:
    """A result that an item will ask for: statistics of an arm at some sites, sinks, or its comparison with seeds.

    With a ``role``, the path of an instrument, it is what that finds, without a corpus in the weights alone. While
    trials are collected, the role RUN stands for whatever instrument they will ask for.
    """

    arm: Arm
    corpus: str
    sites: tuple[str, ...] = ()
    compares_seeds: bool = False
    role: str = ""

    @property
    def kind(self) -> str:
        """The name of the kind of result, in the cache and in the report."""
        if self.role:
            return self.role
        if self.sites == (SINKS,):
            return SINKS
        return "universality" if self.compares_seeds else "sweep"

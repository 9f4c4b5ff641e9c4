"""Which version of a model is measured, and what is going to be asked of it. No torch."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from pytest_unineuron import controls


@dataclass(frozen=True)
class Arm:
    """Which version of a model is measured: the model itself, or one draw of a control."""

    model: str
    control: str = ""
    draw: int = 1

    @property
    def seed(self) -> int:
        """The seed of the draw: the same in every process and for every model."""
        return zlib.crc32(f"{self.control}.{self.draw}".encode())

    def replaces(self, what: str) -> bool:
        """Whether the arm's control replaces this, such as the weights: one of the words of ``controls``."""
        return bool(self.control) and controls.CONTROLS[self.control].replaces == what

    @property
    def read(self) -> Arm:
        """The arm whose activations are read: permuted labels change none."""
        return Arm(self.model) if self.replaces(controls.LABELS) else self

    def __str__(self) -> str:
        """``neox-a~untrained``, or the model alone."""
        return f"{self.model}~{self.control}" if self.control else self.model


@dataclass(frozen=True)
class Request:
    """A result that an item is going to ask for: statistics of an arm at some sites, or its comparison with seeds."""

    arm: Arm
    corpus: str
    sites: tuple[str, ...] = ()
    compares_seeds: bool = False

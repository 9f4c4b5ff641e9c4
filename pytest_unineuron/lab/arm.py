"""Which version of a model is measured."""

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
        """Whether this is what the arm's control replaces, such as the weights: one of the words of ``controls``."""
        return bool(self.control) and controls.CONTROLS[self.control].replaces == what

    @property
    def read(self) -> Arm:
        """The arm whose activations are read: other labels change none."""
        return Arm(self.model) if self.replaces(controls.LABELS) else self

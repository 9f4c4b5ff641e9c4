"""The lab turns settings into models, corpora, one sweep each, and finished results."""

from pytest_unineuron.lab.arm import Arm
from pytest_unineuron.lab.lab import Lab

__all__ = ["Arm", "Lab"]

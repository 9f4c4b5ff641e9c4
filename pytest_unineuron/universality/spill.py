"""Activations on disk: written once, read back layer by layer, gone with whoever wrote them."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Hashable

    from torch import Tensor

PROBED = 32 * 2**20
"""Bytes that are written and read to see how fast the disk is."""


class Spill:
    """Tensors in one temporary file, by name.

    The file has no name where the system allows that, so nothing is left however the process ends. It is read
    rather than mapped: what is mapped counts as memory of the process.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="unineuron-", buffering=0)  # noqa: SIM115
        self._places: dict[Hashable, tuple[int, tuple[int, ...]]] = {}
        self._end = 0

    def write(self, name: Hashable, tensor: Tensor) -> None:
        """Put a tensor at the end of the file."""
        values = tensor.detach().to("cpu").contiguous().numpy()
        self._file.seek(self._end)
        left = _bytes(values)
        while len(left):
            left = left[self._file.write(left) :]
        self._places[name] = self._end, tuple(tensor.shape)
        self._end += values.nbytes

    def read(self, name: Hashable, into: Tensor) -> None:
        """Copy what was written under a name into a tensor of the same shape, on any device, laid out in any way."""
        offset, shape = self._places[name]
        values = np.empty(shape, dtype=torch.empty(0, dtype=into.dtype).numpy().dtype)
        self._file.seek(offset)
        left = _bytes(values)
        while len(left):
            got = self._file.readinto(left)
            if not got:
                raise OSError(f"a temporary file in {tempfile.gettempdir()} ends too early")
            left = left[got:]
        into.copy_(torch.from_numpy(values))

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def _bytes(values: Any) -> memoryview:
    """An array as the bytes it lies in; numpy's types do not say that it is a buffer."""
    return memoryview(values).cast("B") if values.size else memoryview(b"")


def rates() -> tuple[float, float, float]:
    """Bytes per second to the disk and back, and the bytes free on it: where temporary files are."""
    block = os.urandom(2**20)
    with tempfile.TemporaryFile(prefix="unineuron-", buffering=0) as file:
        start = time.perf_counter()
        for _ in range(PROBED // len(block)):
            file.write(block)
        os.fsync(file.fileno())
        written = time.perf_counter()
        if hasattr(os, "posix_fadvise"):  # else it is read from memory, which is what a small spill does as well
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        begun = time.perf_counter()
        while file.read(len(block)):
            pass
        read = time.perf_counter()
    return PROBED / (written - start), PROBED / (read - begun), shutil.disk_usage(tempfile.gettempdir()).free

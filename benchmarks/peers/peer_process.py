"""A process, possibly in another environment, that does tasks on request; see ``serve`` for its side."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any, Self

from pytest_unineuron.system import process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SETTINGS = process.OPENMP | dict(zip(process.MALLOC, map(str, process.RETAIN), strict=True))
"""The plugin's settings of waiting and of memory, which all processes get, so that they are no advantage."""


class PeerProcess:
    """The process that runs ``module`` with ``python`` until its context ends.

    ``name`` is that of the library, ``tasks`` are (kind, name), and ``numbers`` holds some of the numbers of each task
    that has run. Raises RuntimeError if the process ends before.
    """

    def __init__(self, python: Path, module: str, request: Mapping[str, Any]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as the process runs
        self._process = subprocess.Popen(
            [python, "-m", module, json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | SETTINGS | {"HF_HUB_OFFLINE": "1"},
        )
        try:
            message = self._receive()
        except RuntimeError:
            self.stop()
            raise
        self.name: str = message["name"]
        self.tasks: list[tuple[str, str]] = [(kind, task) for kind, task in message["tasks"]]
        self.numbers: dict[tuple[str, str], list[float]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def run(self, kind: str, task: str) -> float:
        """Do a task once and return the seconds that it took."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{kind}/{task}\n")
        self._process.stdin.flush()
        message = self._receive()
        self.numbers[kind, task] = message["numbers"]
        seconds: float = message["seconds"]
        return seconds

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            message: dict[str, Any] = json.loads(line)
            return message
        status = self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"the process ended with status {status}: {' '.join(last)}")

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._errors.close()

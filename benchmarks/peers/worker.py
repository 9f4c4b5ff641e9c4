"""A process in another environment, asked to do a task once."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

from pytest_unineuron.system import process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SETTINGS = process.OPENMP | dict(zip(process.MALLOC, map(str, process.RETAIN), strict=True))
"""How the plugin has its process wait and keep memory: all are given the same, so that it is no advantage."""


class Worker:
    """The process that runs ``module`` with ``python``, alive until ``stop``.

    ``name`` is what it calls itself, ``tasks`` are (kind, name). Raises RuntimeError if it ends before it was told to.
    """

    def __init__(self, python: Path, module: str, given: Mapping[str, Any]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as the process lives
        self._process = subprocess.Popen(
            [python, "-m", module, json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | SETTINGS | {"HF_HUB_OFFLINE": "1"},
        )
        try:
            said = self._answer()
        except RuntimeError:
            self.stop()
            raise
        self.name: str = said["name"]
        self.tasks: list[tuple[str, str]] = [(kind, task) for kind, task in said["tasks"]]
        self.found: dict[tuple[str, str], list[float]] = {}

    def do(self, kind: str, task: str) -> float:
        """The seconds it took; some of the numbers that came out are in ``found`` then."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{kind}/{task}\n")
        self._process.stdin.flush()
        said = self._answer()
        self.found[kind, task] = said["found"]
        seconds: float = said["seconds"]
        return seconds

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            said: dict[str, Any] = json.loads(line)
            return said
        status = self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"the process ended with status {status}: {' '.join(last)}")

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._errors.close()

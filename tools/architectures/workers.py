"""Examines many architectures in separate processes, so that a crash or a hang costs only one result."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from tools.architectures.examination import FAILED, Examination

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMAND = [sys.executable, "-m", "tools.architectures.worker"]
"""The command of a worker; see ``worker.py`` for what it reads and prints."""


class WorkerProcess:
    """A process that examines one architecture after the other; it starts when needed, and again after a failure."""

    def __init__(self, variant: str, limit: float, command: Sequence[str] = COMMAND) -> None:
        self._command = [*command, variant]
        self._limit = limit
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def examine(self, name: str) -> Examination:
        """The result for an architecture ``mapping:model_type``; a failed one if no answer comes within the limit."""
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(name + "\n")
            process.stdin.flush()
            line = self._lines.get(timeout=self._limit)
        except queue.Empty:
            reason = f"no answer within {self._limit:g} seconds"
        except OSError as error:
            reason = f"the process does not read: {error}"
        else:
            if line:
                return Examination(**json.loads(line))
            reason = f"the process ended with status {process.wait()}"
        self.stop()
        mapping, _, model_type = name.partition(":")
        return Examination(mapping, model_type, FAILED, reason)

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self._lines = queue.Queue()
            threading.Thread(target=self._read_lines, args=(self._process, self._lines), daemon=True).start()
        return self._process

    @staticmethod
    def _read_lines(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
        """Put each line of the output into a queue, and an empty one at its end."""
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    def stop(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def examine_all(
    names: Sequence[str],
    variant: str,
    *,
    processes: int = 2,
    limit: float = 120.0,
    on_result: Callable[[Examination], None] = lambda _: None,
    command: Sequence[str] = COMMAND,
) -> list[Examination]:
    """The results for all architectures, in the order of ``names``; ``on_result`` is called with each as it comes.

    ``limit`` is the time in seconds for one architecture.
    """
    results: dict[str, Examination] = {}
    waiting = iter(names)
    lock = threading.Lock()

    def work() -> None:
        worker = WorkerProcess(variant, limit, command)
        try:
            while True:
                with lock:
                    name = next(waiting, None)
                if name is None:
                    return
                result = worker.examine(name)
                with lock:
                    results[name] = result
                    on_result(result)
        finally:
            worker.stop()

    threads = [threading.Thread(target=work) for _ in range(max(1, processes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[name] for name in names]

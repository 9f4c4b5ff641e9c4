"""Examining many architectures in processes of their own: one that hangs or dies costs only itself."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMAND = [sys.executable, "-m", "tools.architectures.worker"]
"""A process that reads the name of an architecture per line and writes what it found, JSON, one line each."""


class Worker:
    """One such process, started when it is first needed and again after it had to be stopped."""

    def __init__(self, variant: str, limit: float, command: Sequence[str] = COMMAND) -> None:
        self._command = [*command, variant]
        self._limit = limit
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def examine(self, name: str) -> dict[str, Any]:
        """What was found in one architecture, or the reason why nothing came back."""
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(name + "\n")
            process.stdin.flush()
            line = self._lines.get(timeout=self._limit)
        except queue.Empty:
            reason = f"no answer within {self._limit:g} seconds"
        except OSError as error:
            reason = f"the process could not be asked: {error}"
        else:
            if line:
                answer: dict[str, Any] = json.loads(line)
                return answer
            reason = f"the process ended with status {process.wait()}"
        self.stop()
        mapping, _, model_type = name.partition(":")
        return {"mapping": mapping, "model_type": model_type, "outcome": "failed", "reason": reason}

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self._lines = queue.Queue()
            threading.Thread(target=self._listen, args=(self._process, self._lines), daemon=True).start()
        return self._process

    @staticmethod
    def _listen(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    def stop(self) -> None:
        """End the process, whatever it is doing."""
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
    done: Callable[[dict[str, Any]], None] | None = None,
    command: Sequence[str] = COMMAND,
) -> list[dict[str, Any]]:
    """What was found in every architecture, in order. ``done`` hears of each as it comes in."""
    results: dict[str, dict[str, Any]] = {}
    waiting = iter(names)
    lock = threading.Lock()

    def work() -> None:
        worker = Worker(variant, limit, command)
        try:
            while True:
                with lock:
                    name = next(waiting, None)
                if name is None:
                    return
                answer = worker.examine(name)
                with lock:
                    results[name] = answer
                    if done is not None:
                        done(answer)
        finally:
            worker.stop()

    threads = [threading.Thread(target=work) for _ in range(max(1, processes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[name] for name in names]

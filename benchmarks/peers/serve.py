"""The protocol of a process that does tasks for a benchmark.

The process prints one line of JSON with its name and its tasks. Each line of its standard input then names a task,
which it answers with a line of JSON: the seconds that the task took, and some of the numbers that it computed, to
verify that all libraries do the same work.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

SWEEP, CORRELATION = "sweep", "correlation"
"""Kinds of tasks."""


@dataclass(frozen=True)
class PeerInputs:
    """Two models of one shape in ``folders``, saved by save_pretrained, and ``ids`` [batch, row, position].

    ``n_largest`` is the number of largest values per neuron.
    """

    folders: tuple[Path, Path]
    ids: Tensor
    n_largest: int

    def model(self, number: int) -> Any:
        """One of the models, loaded by transformers."""
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.folders[number]).eval()


Tasks = dict[tuple[str, str], "Callable[[], Callable[[], list[float]]]"]
"""Functions by kind and name, which do the work and return a function for some of its numbers, which is not timed."""


def serve(build: Callable[[PeerInputs], tuple[str, Tasks]]) -> None:
    """Do tasks until the standard input ends. ``build`` loads the models and returns a name and the tasks."""
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries may print
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    request = json.loads(sys.argv[1])
    torch.set_num_threads(request["threads"])
    folder = Path(request["folder"])
    ids = torch.load(folder / "ids.pt", weights_only=True)
    name, tasks = build(PeerInputs((folder / "0", folder / "1"), ids, request["n_largest"]))
    _send(answers, {"name": name, "tasks": list(tasks)})
    for line in sys.stdin:
        kind, _, task = line.strip().partition("/")
        with torch.inference_mode():
            start = time.perf_counter()
            numbers = tasks[kind, task]()
            seconds = time.perf_counter() - start
            _send(answers, {"seconds": seconds, "numbers": numbers()})


def _send(answers: Any, message: Mapping[str, Any]) -> None:
    print(json.dumps(message), file=answers, flush=True)

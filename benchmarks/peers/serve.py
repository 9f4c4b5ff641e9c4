"""A process that stays alive and does a task once whenever it is told to.

Lines on the standard input name a task; the answer is a line of JSON: the seconds it took, and some of the numbers
it found, so that it can be seen that all did the same work. The first line, which nobody asked for, says who it is.
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
class Work:
    """Two models of one shape in ``folders``, as save_pretrained leaves them, and ``ids`` [batch, row, position].

    ``largest`` is how many of the largest values are kept.
    """

    folders: tuple[Path, Path]
    ids: Tensor
    largest: int

    def model(self, number: int) -> Any:
        """One of the models, as transformers loads it."""
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.folders[number]).eval()


Tasks = dict[tuple[str, str], "Callable[[], Callable[[], list[float]]]"]
"""By kind and name: does the work, and returns what picks some of the numbers it found, which is not timed."""


def serve(build: Callable[[Work], tuple[str, Tasks]]) -> None:
    """Answer until there is nothing more to read. ``build`` loads the models, and says who does the work."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever libraries print is no answer
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    given = json.loads(sys.argv[1])
    torch.set_num_threads(given["threads"])
    folder = Path(given["folder"])
    work = Work((folder / "0", folder / "1"), torch.load(folder / "ids.pt", weights_only=True), given["largest"])
    name, tasks = build(work)
    _say(answers, {"name": name, "tasks": list(tasks)})
    for line in sys.stdin:
        kind, _, task = line.strip().partition("/")
        with torch.inference_mode():
            began = time.perf_counter()
            pick = tasks[kind, task]()
            seconds = time.perf_counter() - began
            _say(answers, {"seconds": seconds, "found": pick()})


def _say(answers: Any, what: Mapping[str, Any]) -> None:
    print(json.dumps(what), file=answers, flush=True)

"""A process that does one thing and prints how much memory it took, JSON. Asked by ``benchmarks.memory``."""

from __future__ import annotations

import gc
import json
import resource
import sys
from pathlib import Path

import torch

from benchmarks import correlation, work
from benchmarks.sweep import swept
from pytest_unineuron.system import process
from pytest_unineuron.universality.match import match
from pytest_unineuron.universality.seeds import SeedActivations, comparison_cost
from pytest_unineuron.universality.units import NEURONS

STATUS = Path("/proc/self/status")
FORGET = Path("/proc/self/clear_refs")
ENOUGH = 1.05
"""Times the least, where a trial is to be done in as little as it takes."""


def main(asked: str) -> None:
    """Load the models, then do what was asked for."""
    process.configure()
    given = json.loads(asked)
    shape, what = work.Shape(**given["shape"]), given["what"]
    base = resident("VmRSS")
    members = [work.member(work.model(shape, seed), shape) for seed in range(2 if what in ("pair", "trial") else 1)]
    text = work.text(work.ids(shape, given["batches"]))
    batches = text.batches(shape.tokens)
    gc.collect()
    loaded = resident("VmRSS")
    forget()
    plan: dict[str, float] = {}
    with torch.inference_mode():
        if what == "forward":
            for batch in batches:
                work.forward(members[0].model, batch)
        elif what == "sweep":
            swept(members[0], text, shape, None)
        elif what == "pair":
            correlation.pair(members, batches)
        else:
            halves = work.halves(batches)
            seed = SeedActivations(members[1], halves, kinds=(NEURONS,), room=0)
            task = comparison_cost(members[0], halves, [seed], (NEURONS,))
            memory = given["memory"] or ENOUGH * task.least
            plan = {"budget": memory, "blocks": len(task.blocks(memory))}
            match(members[0], halves, [seed], kinds=(NEURONS,), memory=memory)
    print(json.dumps({"loaded": loaded - base, "above": resident("VmHWM") - loaded} | plan))


def resident(which: str) -> float:
    """Bytes in memory now (VmRSS) or at most since ``forget`` (VmHWM); at most ever, where Linux does not tell."""
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024.0)
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(which))


def forget() -> None:
    """Begin to look for the most anew."""
    try:
        FORGET.write_text("5", encoding="ascii")
    except OSError:
        print("the most includes what loading took", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])

"""A process that does one task and prints its peak memory as JSON; started by ``benchmarks.memory``."""

from __future__ import annotations

import gc
import json
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks import correlation
from benchmarks import workload as work
from benchmarks.sweep import sweep_once
from pytest_unineuron.system import process
from pytest_unineuron.universality.blocks import blocks_within
from pytest_unineuron.universality.kinds import NEURONS
from pytest_unineuron.universality.match import Resources, match
from pytest_unineuron.universality.seeds import SeedActivations, comparison_cost

if TYPE_CHECKING:
    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.universality.units import ComparedModel

STATUS = Path("/proc/self/status")
RESET_PEAK = Path("/proc/self/clear_refs")
LEAST_MARGIN = 1.05
"""The least budget of a comparison is given times this."""


def main(request: str) -> None:
    """Load the models, do the requested task, and print the memory that it took."""
    process.configure()
    given = json.loads(request)
    workload, task = work.Workload(**given["workload"]), given["task"]
    base = resident_bytes("VmRSS")
    models = work.random_models(workload, 2 if task in ("sums", "comparison") else 1)
    blocks = work.as_corpus(work.random_ids(workload, given["batches"]))
    batches = blocks.batches(workload.batch_tokens)
    gc.collect()
    loaded = resident_bytes("VmRSS")
    reset_peak()
    facts: dict[str, float] = {}
    with torch.inference_mode():
        if task == "forward":
            for batch in batches:
                work.forward(models[0].model, batch)
        elif task == "sweep":
            sweep_once(models[0], blocks, workload)
        elif task == "sums":
            correlation.sums_of_products(models, batches)
        else:
            facts = compare(models, batches, given["budget"])
    print(json.dumps({"loaded": loaded - base, "above": resident_bytes("VmHWM") - loaded} | facts))


def compare(models: list[ComparedModel], batches: list[Batch], budget: float) -> dict[str, float]:
    """Compare two models in a budget of bytes, 0 for the least; returns the budget and the number of blocks."""
    split = work.with_held_out_split(batches)
    seed = SeedActivations(models[1], split, kinds=(NEURONS,), room=0)
    cost = comparison_cost(models[0], split, [seed], (NEURONS,))
    budget = budget or LEAST_MARGIN * cost.least_bytes
    match(models[0], split, [seed], kinds=(NEURONS,), resources=Resources(memory=budget))
    return {"budget": budget, "blocks": len(blocks_within(cost, budget))}


def resident_bytes(field: str) -> float:
    """Resident memory now (VmRSS) or at its peak since ``reset_peak`` (VmHWM); at its peak, where this is not Linux."""
    try:
        lines = STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024.0)
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def reset_peak() -> None:
    """Make VmHWM start from the memory that is resident now, where Linux allows it."""
    try:
        RESET_PEAK.write_text("5", encoding="ascii")
    except OSError:
        print("the peak includes what loading took", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])

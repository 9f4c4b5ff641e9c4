"""What comparing two seeds costs, against what it cannot do without.

The bound is two bare forward passes (no unembedding) and one product of the neurons of both models. All
variants run interleaved in one process, on the same random GPT-2 models and token ids; only ratios carry over
to other machines.

    python benchmarks/correlation.py
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from functools import wraps
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pytest_unineuron import process
from pytest_unineuron.activations.counterpart import Counterpart
from pytest_unineuron.activations.units import NEURONS, Member
from pytest_unineuron.activations.universality import choose, gather, match
from pytest_unineuron.corpora.blocks import Batch
from pytest_unineuron.models.anatomy import Anatomy, dissect
from pytest_unineuron.models.load import Loaded

if TYPE_CHECKING:
    from collections.abc import Callable


class Tokens:
    """A stand-in for a tokenizer where ids are drawn, not read."""

    all_special_ids = (0,)

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size


def main() -> None:
    """Print one line per variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in {"layers": 6, "width": 384, "vocabulary": 8192, "context": 256, "rows": 8,
                        "batches": 8, "repeats": 3, "threads": 2}.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value, help="default: %(default)s")
    given = parser.parse_args()
    process.settle()
    torch.set_num_threads(given.threads)
    members, batches = [member(given, seed) for seed in range(3)], drawn(given)
    variants = {
        "two forwards and a product (the bound)": lambda batches: bound(members, batches),
        "all sums of a pair, those of the baseline included": lambda batches: pair(members, batches),
        "once a pair: best matches, in three random bases too": lambda batches: finish(members, batches),
        "a trial: chosen on half the text, read on the other": lambda batches: trial(members[:2], batches),
        "the same with two seeds": lambda batches: trial(members, batches),
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    with torch.inference_mode():
        for variant in variants.values():
            variant(batches[:2])  # warms up
        for _ in range(given.repeats):
            for name, variant in variants.items():
                times[name].append(variant(batches))
    first = next(iter(times.values()))
    for name, found in times.items():
        ratios = sorted(a / b for a, b in zip(found, first, strict=True))
        print(f"{name:54} {median(found):7.2f} s  {median(ratios):5.2f} × the bound ({ratios[0]:.2f}–{ratios[-1]:.2f})")


def timed(variant: Callable[..., Any]) -> Callable[..., float]:
    """The same, returning the seconds it took: all of it, or what it says itself."""

    @wraps(variant)
    def run(*given: Any) -> float:
        start = time.perf_counter()
        began = variant(*given)
        return time.perf_counter() - (began or start)

    return run


def member(given: argparse.Namespace, seed: int) -> Member:
    """A random GPT-2."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model("gpt2", n_layer=given.layers, n_embd=given.width, n_head=given.width // 64,
                                  vocab_size=given.vocabulary, n_positions=given.context,
                                  bos_token_id=0, eos_token_id=0)  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval()
    found: Anatomy = dissect(Loaded(model, Tokens(given.vocabulary), "", None))  # type: ignore[arg-type]
    return Member(model, found)


def drawn(given: argparse.Namespace) -> list[Batch]:
    """Random token ids, all of which count."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(given.batches):
        ids = torch.randint(given.vocabulary, (given.rows, given.context), generator=generator)
        every = torch.ones_like(ids, dtype=torch.bool)
        made.append(Batch(0, ids, torch.ones_like(ids), every, ids, 0, every))
    return made


@timed
def bound(members: list[Member], batches: list[Batch]) -> None:
    """What cannot be done without."""
    units = sum(members[0].sizes(NEURONS))
    product = torch.zeros(units, units)
    x = torch.randn(batches[0].tokens, units)
    for batch in batches:
        for of in members[:2]:
            of.model.base_model(input_ids=batch.ids, attention_mask=batch.attended, use_cache=False)
        product.addmm_(x.T, x)


@timed
def pair(members: list[Member], batches: list[Batch]) -> None:
    """The sums from which every correlation and every baseline follows, over all tokens."""
    seed = Counterpart(members[1], batches, kinds=(NEURONS,), room=0)  # no arm comes after this one
    gather(members[0], batches, [seed], kinds=(NEURONS,))


@timed
def finish(members: list[Member], batches: list[Batch]) -> float:
    """From the sums to partners: what does not grow with the text. The time it began."""
    seed = Counterpart(members[1], batches[:1], kinds=(NEURONS,))
    sums = gather(members[0], batches[:1], [seed], kinds=(NEURONS,))[NEURONS, 0]
    began = time.perf_counter()
    choose(sums, seed, NEURONS, absolute=False)
    return began


@timed
def trial(members: list[Member], batches: list[Batch]) -> None:
    """Partners in the seeds and in three random bases of each, chosen on every other batch and read on the rest."""
    halves = [replace(batch, group=number % 2) for number, batch in enumerate(batches)]
    match(members[0], halves, [Counterpart(seed, halves, kinds=(NEURONS,)) for seed in members[1:]], kinds=(NEURONS,))


if __name__ == "__main__":
    main()

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
from statistics import median

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pytest_unineuron.activations.counterpart import Counterpart
from pytest_unineuron.activations.units import NEURONS, Member
from pytest_unineuron.activations.universality import choose, gather, match
from pytest_unineuron.corpora.blocks import Batch
from pytest_unineuron.models.anatomy import Anatomy, dissect
from pytest_unineuron.models.load import Loaded


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
    for name, value in {"layers": 4, "width": 256, "vocabulary": 4096, "context": 256, "rows": 4,
                        "batches": 24, "repeats": 5, "threads": 1}.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value, help="default: %(default)s")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    members = [member(given, seed) for seed in range(3)]
    batches = drawn(given)
    halves = both_halves(batches)
    variants = {
        "two forwards and a product (the bound)": lambda: bound(members, batches),
        "the sums of one pair, baseline included": lambda: pair(members, batches, matched=False),
        "the same, with every best match": lambda: pair(members, batches, matched=True),
        "one pair, all kinds of units, chosen and read": lambda: match(members[0], halves, seeds(members[1:2], halves)),
        "two seeds, all kinds of units, chosen and read": lambda: match(members[0], halves, seeds(members[1:], halves)),
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    with torch.inference_mode():
        for turn in range(given.repeats + 1):
            for name, variant in variants.items():
                start = time.perf_counter()
                variant()
                if turn:  # the first turn warms up
                    times[name].append(time.perf_counter() - start)
    first = next(iter(times.values()))
    for name, found in times.items():
        ratio = median(a / b for a, b in zip(found, first, strict=True))
        print(f"{name:50} {median(found):7.2f} s   {ratio:5.2f} × the bound")


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


def both_halves(batches: list[Batch]) -> list[Batch]:
    """The same batches, in groups of which half choose and half read."""
    return [replace(batch, group=number % 2) for number, batch in enumerate(batches)]


def bound(members: list[Member], batches: list[Batch]) -> None:
    """What cannot be done without."""
    units = sum(members[0].sizes(NEURONS))
    product = torch.zeros(units, units)
    x = torch.randn(batches[0].tokens, units)
    for batch in batches:
        for of in members[:2]:
            of.model.base_model(input_ids=batch.ids, attention_mask=batch.attended, use_cache=False)
        product.addmm_(x.T, x)


def seeds(members: list[Member], batches: list[Batch]) -> list[Counterpart]:
    """The other side, with everything still to do."""
    return [Counterpart(member, batches) for member in members]


def pair(members: list[Member], batches: list[Batch], *, matched: bool) -> None:
    """The sums from which every correlation and every baseline follows; and best matches in one basis of each kind."""
    seed = Counterpart(members[1], batches, draws=1)
    found = gather(members[0], batches, [seed], kinds=(NEURONS,))[NEURONS, 0]
    _ = seed.within
    if matched:
        choose(found, seed, NEURONS, absolute=False)


if __name__ == "__main__":
    main()

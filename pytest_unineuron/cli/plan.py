"""What comparing a model with its seeds takes, in numbers and in words, without running anything."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import NotApplicable, OptionError
from pytest_unineuron.models.loading.shape import BYTES_PER_WEIGHT, ModelShape, model_shape
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.models.registry import seeds_compared_with
from pytest_unineuron.options.settings import Settings
from pytest_unineuron.universality.cost import GIB, gib
from pytest_unineuron.universality.expected import Expected
from pytest_unineuron.universality.kinds import NEURONS
from pytest_unineuron.universality.ways import AGAIN, DISK, Rates, spoken

if TYPE_CHECKING:
    import argparse

    from pytest_unineuron.models.loading.source import Source
    from pytest_unineuron.universality.ways import Way

BY_HAND = ("layers", "width", "neurons", "heads", "vocabulary")
"""What a shape is made of; the first three there is no plan without."""
DISK_RATE = 1e9
"""Bytes per second to and from a disk, where nothing is measured."""


@dataclass(frozen=True)
class Plan:
    """A comparison and the rate, in operations per second, at which it is expected to run."""

    name: str
    expected: Expected
    rate: float
    device_memory: float = 0.0

    @cached_property
    def way(self) -> Way:
        """How activations are had for every block. Raises OptionError if the budget is too small."""
        forward = self.expected.forward / 2 / self.rate
        return self.expected.ways(Rates(forward, DISK_RATE, DISK_RATE))[0]

    @cached_property
    def passes(self) -> float:
        """Forward passes over the whole text, those included that are made again for further blocks."""
        task, way = self.expected.task, self.way
        needed = [task.needs(block) for block in way.blocks]
        uses = [sum(bool(block[number]) for block in needed) for number in range(1 + self.expected.seeds)]
        again = sum(use - 1 for use, place in zip(uses, way.places, strict=True) if place == AGAIN)
        return 1 + self.expected.seeds + again / 2  # over the half where partners are chosen

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """All that is known, as plain JSON data; operations, bytes and seconds."""
        expected, task, way = self.expected, self.expected.task, self.way
        operations = {
            "forward": int(self.passes * expected.forward),
            "product": task.product,
            "within": task.half_products,
            "bases": task.bases,
        }
        weights = (1 + expected.seeds) * expected.shape.weights * BYTES_PER_WEIGHT[expected.dtype]
        held = sum(expected.held)
        within = min(expected.memory, held + max(task.working + task.cross + task.within, task.comparing))
        needs = weights + within
        return {
            "model": self.name,
            "shape": asdict(expected.shape),
            "seeds": expected.seeds,
            "tokens": expected.tokens,
            "compared": expected.compared,
            "dtype": expected.dtype,
            "units": {kind: sum(of_kind) for kind, of_kind in task.subject.items()},
            "forward_passes": self.passes,
            "forward_tokens": int(self.passes * expected.tokens),
            "neurons_per_token_and_pair": 2 * sum(task.subject[NEURONS]) ** 2,
            "operations": {**operations, "all": sum(operations.values())},
            "bytes": {
                "weights": weights,
                "budget": int(expected.memory),
                "product": task.cross,
                "within": task.within,
                "working": task.working,
                "least": task.least,
                "kept": sum(expected.held),
                "spilled": way.spilled,
                "cache": task.entry,
                "peak": int(needs),
            },
            "blocks": len(way.blocks),
            "activations": {AGAIN: "recomputed", DISK: "spilled"}.get(way.places[-1], "kept in memory"),
            "rate": self.rate,
            "seconds": {
                **{name: count / self.rate for name, count in operations.items()},
                "disk": way.spilled * len(way.blocks) / DISK_RATE,
                "all": sum(operations.values()) / self.rate + way.spilled * len(way.blocks) / DISK_RATE,
            },
            "device_memory": self.device_memory or None,
            "fits": needs <= self.device_memory if self.device_memory else None,
        }

    def lines(self) -> list[str]:
        """The same as a table, with the formulas in words."""
        n, shape, expected = self.numbers, self.expected.shape, self.expected
        ops, size, seconds = n["operations"], n["bytes"], n["seconds"]
        blocks = f"{n['blocks']} block{'s' * (n['blocks'] != 1)}"
        rows = [
            (
                "units",
                f"{shape.layers} layers of {shape.neurons} neurons",
                f"{n['units']['neurons']:,} neurons",
            ),
            ("", "dimensions, head values and heads", ", ".join(f"{v:,}" for v in list(n["units"].values())[1:])),
            (
                "forward passes",
                f"the model and {expected.seeds} seeds, once; half again for a further block",
                f"{n['forward_passes']:g} passes, {n['forward_tokens']:.3g} tokens",
            ),
            ("", "2 × weights in layers + 4 × layers × context × head values, per token", f"{ops['forward']:.3g} FLOP"),
            (
                "products",
                "2 × neurons × neurons of a seed, per token and seed",
                f"{n['neurons_per_token_and_pair']:.3g} FLOP",
            ),
            (
                "",
                f"of all units, at the {expected.task.choosing:,} tokens where partners are chosen, with all seeds",
                f"{ops['product']:.3g} FLOP",
            ),
            ("within layers", "a layer's units squared, per token, layer and seed", f"{ops['within']:.3g} FLOP"),
            ("random bases", "4 bases to choose from, 3 of them to read", f"{ops['bases']:.3g} FLOP"),
            ("all", "", f"{ops['all']:.3g} FLOP"),
            ("weights", f"of {1 + expected.seeds} models in {expected.dtype}", gib(size["weights"])),
            ("products", "bytes of a number × units × units of all seeds", gib(size["product"])),
            ("within layers", "bytes of a number × a layer's units squared, all layers and seeds", gib(size["within"])),
            ("a batch, a basis", "beside the products", gib(size["working"])),
            ("activations", "of the seeds, kept in memory for further arms", gib(size["kept"])),
            ("", "spilled to disk, for further blocks", gib(size["spilled"])),
            ("cache", "the finished comparison on disk", gib(size["cache"])),
            (
                "peak",
                "weights and what comparing takes of the budget (--memory); with the least budget "
                f"{gib(size['weights'] + size['least'])}",
                gib(size["peak"]),
            ),
            ("blocks", f"of products within {gib(size['budget'])}; activations {n['activations']}", blocks),
            (
                "time",
                f"at {self.rate:.3g} FLOP per second: forward {spoken(seconds['forward'])}, products "
                f"{spoken(seconds['product'])}, bases {spoken(seconds['bases'] + seconds['within'])}",
                spoken(seconds["all"]),
            ),
        ]
        if self.device_memory:
            rows.append(("device", f"has {gib(self.device_memory)}", "fits" if n["fits"] else "does not fit"))
        title = (
            f"{self.name} and {expected.seeds} seeds on a text of {expected.tokens:,} tokens, compared at "
            f"{expected.compared:,}"
        )
        wide = max(len(what) for _, what, _ in rows)
        return [title, "", *(f"{name:16}  {what:{wide}}  {much}".rstrip() for name, what, much in rows)]


def measured(dtype: str) -> float:
    """Operations per second of this machine, by products of a size that a cache does not hold; imports torch."""
    from pytest_unineuron.system import process

    process.configure()
    import torch

    from pytest_unineuron.statistics.gemm import product

    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 1024 if device == "cpu" else 8192
    wide = torch.float64 if dtype == "float64" else torch.float32
    x = torch.rand(size, size, device=device, dtype=wide)
    product(x, x)  # warms up
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < 0.5 or done < 3:
        product(x, x).sum().item()
        done += 1
    return done * 2 * size**3 / (time.perf_counter() - start)


def arguments(command: argparse.ArgumentParser) -> None:
    """What `pytest-unineuron plan` can be told."""
    plain = Settings()
    command.add_argument("model", nargs="?", metavar="MODEL", help="a folder with config.json, nano:NAME or a hub id")
    for name in BY_HAND:
        command.add_argument(f"--{name}", metavar="N", help="by hand, beside MODEL or instead of it")
    for name, metavar, text in (
        ("seeds", "N", "further seeds (default: what the registry knows, else 1)"),
        ("tokens", "N", f"tokens that are read (default: {plain.tokens})"),
        (
            "correlation-tokens",
            "N",
            "tokens at which seeds are compared (default: all of --tokens, or "
            f"{plain.correlation_tokens} where these are not given)",
        ),
        ("context", "N", "tokens that are read together (default: the model's, at most 512)"),
        ("batch", "N", "tokens per forward pass (default: 1024)"),
        ("memory", "GIB", f"the budget for comparing (default: {plain.memory})"),
        ("device-memory", "GIB", "say whether models and budget fit into so much"),
        ("rate", "FLOPS", "operations per second of the device, such as 400e12 (default: measured here)"),
    ):
        command.add_argument(f"--{name}", metavar=metavar, help=text)
    command.add_argument("--dtype", choices=tuple(BYTES_PER_WEIGHT), default=plain.dtype)
    command.add_argument("--json", action="store_true", help="print JSON")


def run(said: argparse.Namespace) -> int:
    """Print the plan that was asked for. Raises UnineuronError for one that cannot be."""
    made = planned(said)
    print(json.dumps(made.numbers, indent=2) if said.json else "\n".join(made.lines()))
    return 0


def planned(said: argparse.Namespace) -> Plan:
    """The plan that was asked for."""
    plain, name = Settings(), said.model or "a model of this shape"
    given = {name: int(number) for name in BY_HAND if (number := _number(said, name))}
    source = parse_source(said.model) if said.model else None
    if source is not None:
        of_model = replace(model_shape(source), **given)  # type: ignore[arg-type]  # whole numbers all
    else:
        if missing := [f"--{name}" for name in BY_HAND[:3] if name not in given]:
            raise OptionError(f"plan: of what? give MODEL, or its shape by hand; {', '.join(missing)} missing")
        plausible = {"heads": max(1, given["width"] // 64), "vocabulary": 50257, "context": 1024}
        of_model = ModelShape(**{**plausible, **given})  # type: ignore[arg-type]
    tokens = int(_number(said, "tokens") or plain.tokens)
    compared = _number(said, "correlation_tokens") or (tokens if said.tokens else plain.correlation_tokens)
    expected = Expected(
        of_model,
        seeds=int(_number(said, "seeds") or _registered(source)),
        tokens=tokens,
        compared=min(tokens, int(compared)),
        context=int(_number(said, "context") or min(512, of_model.context or 512)),
        memory=(_number(said, "memory") or plain.memory) * GIB,
        positions=int(_number(said, "batch") or 1024),
        dtype=said.dtype,
    )
    _ = expected.blocks  # a budget that is too small is told before anything is measured
    rate = _number(said, "rate") or measured(said.dtype)
    return Plan(name, expected, rate, (_number(said, "device_memory") or 0) * GIB)


def _registered(source: Source | None) -> int:
    """How many further seeds of a model are known; one where none are."""
    try:
        return len(seeds_compared_with(source, ())) if source else 1
    except NotApplicable:
        return 1


def _number(said: argparse.Namespace, name: str) -> float | None:
    """A positive number that was typed. Raises OptionError for anything else."""
    text = getattr(said, name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise OptionError(f"--{name.replace('_', '-')}={text}: give a number above 0, such as 1e6")
    return value

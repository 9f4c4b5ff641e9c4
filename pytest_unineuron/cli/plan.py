"""``pytest-unineuron plan``: what comparing a model with its seeds takes, without running anything."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from functools import cached_property
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import NotApplicable, OptionError
from pytest_unineuron.models.loading.shape import BYTES_PER_WEIGHT, ModelShape, model_shape
from pytest_unineuron.models.loading.source import parse_source
from pytest_unineuron.models.registry import seeds_compared_with
from pytest_unineuron.options.settings import CPU_POSITIONS, DEFAULT_CONTEXT, Settings
from pytest_unineuron.system.machine import GIB, format_gib
from pytest_unineuron.universality.estimate import CostEstimate

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pytest_unineuron.models.loading.source import Source

    FormulaRow = tuple[str, str, str]
    """A name, how the amount comes about, and the amount."""

WIDTH = 80
"""The columns of the table."""
MOST = {"seeds": 1e4, "layers": 1e4}
"""The largest number of what is counted one by one."""
SHAPE_ARGUMENTS = ("layers", "width", "neurons", "heads", "vocabulary")
"""The arguments that give the shape of a model; the first three are needed without a model."""


@dataclass(frozen=True)
class TimedEstimate:
    """A cost estimate at a rate in operations per second, for a device with so many bytes of memory, 0 for any."""

    name: str
    estimate: CostEstimate
    rate: float
    device_memory: float = 0.0

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by what they are for."""
        return {name: count / self.rate for name, count in self.estimate.operations.items()}

    @property
    def fits(self) -> bool | None:
        """Whether models and budget fit into the device's memory; None if that is not known."""
        return self.estimate.peak_bytes <= self.device_memory if self.device_memory else None

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """All numbers as plain JSON data; operations, bytes and seconds."""
        return {
            "model": self.name,
            **self.estimate.as_dict(),
            "rate": self.rate,
            "seconds": self.seconds,
            "device_memory": self.device_memory or None,
            "fits": self.fits,
        }

    def lines(self) -> list[str]:
        """The numbers as a table, with the formulas in words."""
        estimate = self.estimate
        title = (
            f"{self.name} and {estimate.seeds} seeds on a text of {estimate.tokens:,} tokens, compared at "
            f"{estimate.compared:,}"
        )
        rows = [*self._operation_rows(), *self._memory_rows(), *self._time_rows()]
        return [*wrap(title, WIDTH), "", *(line for row in rows for line in _lines_of(*row))]

    def _operation_rows(self) -> Iterator[FormulaRow]:
        n, estimate, shape = self.numbers, self.estimate, self.estimate.shape
        operations, units = n["operations"], list(n["units"].values())
        yield "units", f"{shape.layers} layers of {shape.neurons} neurons", f"{units[0]:,} neurons"
        yield "", "dimensions, head values and heads", ", ".join(f"{count:,}" for count in units[1:])
        yield (
            "forward passes",
            f"the model and {estimate.seeds} seeds: {n['forward_tokens']:.3g} tokens; half again for a further block",
            f"{n['forward_passes']:g} passes",
        )
        yield (
            "",
            "2 × weights in layers + 4 × layers × context × head values, per token",
            f"{operations['forward']:.3g} FLOP",
        )
        yield (
            "products",
            "2 × neurons × neurons of a seed, per token and seed",
            f"{n['neurons_per_token_and_pair']:.3g} FLOP",
        )
        yield (
            "",
            f"of all units, at the {estimate.cost.selection_tokens:,} tokens of the selection split, with all seeds",
            f"{operations['product']:.3g} FLOP",
        )
        yield "within layers", "a layer's units squared, per token, layer and seed", f"{operations['within']:.3g} FLOP"
        yield "random bases", "2 of neurons to choose from, 1 of them to read", f"{operations['bases']:.3g} FLOP"
        yield "all", "", f"{operations['all']:.3g} FLOP"

    def _memory_rows(self) -> Iterator[FormulaRow]:
        size = {name: format_gib(number) for name, number in self.numbers["bytes"].items()}
        least = format_gib(self.estimate.weight_bytes + self.estimate.cost.least_bytes)
        blocks = len(self.estimate.blocks)
        yield "weights", f"of {1 + self.estimate.seeds} models in {self.estimate.dtype}", size["weights"]
        yield "products", "bytes of a number × units × units of all seeds", size["product"]
        yield "within layers", "bytes of a number × a layer's units squared, all layers and seeds", size["within"]
        yield "a batch, a basis", "beside the products", size["working"]
        yield "activations", "of the seeds, kept in memory for further arms", size["kept"]
        yield "cache", "the finished comparison on disk", size["cache"]
        yield "peak", f"weights and the budget that is used (--memory); with the least budget {least}", size["peak"]
        yield (
            "blocks",
            f"of products within {size['budget']}; activations {self.numbers['activations']}",
            f"{blocks} block{'s' * (blocks != 1)}",
        )

    def _time_rows(self) -> Iterator[FormulaRow]:
        seconds = self.seconds
        bases = format_duration(seconds["bases"] + seconds["within"])
        yield (
            "time",
            f"at {self.rate:.3g} FLOP per second: forward {format_duration(seconds['forward'])}, products "
            f"{format_duration(seconds['product'])}, bases {bases}",
            format_duration(seconds["all"]),
        )
        if self.device_memory:
            yield "device", f"has {format_gib(self.device_memory)}", "fits" if self.fits else "does not fit"


def _lines_of(name: str, formula: str, amount: str) -> list[str]:
    """A row of the table, in as many lines as its formula needs."""
    first = f"{name:16}  {amount:>14}  "
    return wrap(first + formula, WIDTH, subsequent_indent=" " * len(first)) if formula else [first.rstrip()]


def format_duration(seconds: float) -> str:
    """A time in words.

    >>> format_duration(0.2), format_duration(200), format_duration(20_000)
    ('< 1 s', '3 min', '5.6 h')
    """
    if seconds < 1:
        return "< 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def measure_rate(dtype: str) -> float:
    """Operations per second of this machine, by products that do not fit into a cache; imports torch."""
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


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `pytest-unineuron plan`."""
    default = Settings()
    command.add_argument("model", nargs="?", metavar="MODEL", help="a folder with config.json, nano:NAME or a hub id")
    for name in SHAPE_ARGUMENTS:
        command.add_argument(f"--{name}", metavar="N", help="part of the shape, beside MODEL or instead of it")
    for name, metavar, text in (
        ("seeds", "N", "further seeds (default: those that the registry knows, else 1)"),
        ("tokens", "N", f"tokens that are read (default: {default.tokens})"),
        (
            "correlation-tokens",
            "N",
            "tokens at which seeds are compared (default: all of --tokens, or "
            f"{default.correlation_tokens} where these are not given)",
        ),
        ("context", "N", f"tokens that are read together (default: the model's, at most {DEFAULT_CONTEXT})"),
        ("batch", "N", f"tokens per forward pass (default: {CPU_POSITIONS})"),
        ("memory", "GIB", f"the budget for comparing (default: {default.memory})"),
        ("device-memory", "GIB", "say whether models and budget fit into so much"),
        ("rate", "FLOPS", "operations per second of the device, such as 400e12 (default: measured here)"),
    ):
        command.add_argument(f"--{name}", metavar=metavar, help=text)
    command.add_argument("--dtype", choices=tuple(BYTES_PER_WEIGHT), default=default.dtype)
    command.add_argument("--json", action="store_true", help="print JSON")


def print_plan(arguments: argparse.Namespace) -> int:
    """Print the estimate that was asked for. Raises UnineuronError for one that cannot be made."""
    made = estimated(arguments)
    print(json.dumps(made.numbers, indent=2) if arguments.json else "\n".join(made.lines()))
    return 0


def estimated(arguments: argparse.Namespace) -> TimedEstimate:
    """The estimate that was asked for. Raises OptionError, and ModelError for a model without a known shape."""
    default = Settings()
    source = parse_source(arguments.model) if arguments.model else None
    shape = _shape(arguments, source)
    tokens = _count(arguments, "tokens") or default.tokens
    all_tokens = tokens if arguments.tokens else default.correlation_tokens
    estimate = CostEstimate(
        shape,
        seeds=_count(arguments, "seeds") or _known_seeds(source),
        tokens=tokens,
        compared=min(tokens, _count(arguments, "correlation_tokens") or all_tokens),
        context=_count(arguments, "context") or min(DEFAULT_CONTEXT, shape.context or DEFAULT_CONTEXT),
        memory=(_number(arguments, "memory") or default.memory) * GIB,
        positions=_count(arguments, "batch") or CPU_POSITIONS,
        dtype=arguments.dtype,
    )
    _ = estimate.blocks  # a budget that is too small is reported before anything is measured
    rate = _number(arguments, "rate") or measure_rate(arguments.dtype)
    name = arguments.model or "a model of this shape"
    return TimedEstimate(name, estimate, rate, (_number(arguments, "device_memory") or 0) * GIB)


def _shape(arguments: argparse.Namespace, source: Source | None) -> ModelShape:
    """The shape of the model that was named, with the parts that were given by hand."""
    given = {name: number for name in SHAPE_ARGUMENTS if (number := _count(arguments, name))}
    if source is not None:
        return replace(model_shape(source), **given)  # type: ignore[arg-type]  # whole numbers all
    if missing := [f"--{name}" for name in SHAPE_ARGUMENTS[:3] if name not in given]:
        raise OptionError(f"plan: of what? give MODEL, or its shape by hand; {', '.join(missing)} missing")
    plausible = {"heads": max(1, given["width"] // 64), "vocabulary": 50257, "context": 1024}
    return ModelShape(**{**plausible, **given})  # type: ignore[arg-type]


def _known_seeds(source: Source | None) -> int:
    """The number of further seeds that the registry knows of a model; one where it knows none."""
    try:
        return len(seeds_compared_with(source, ())) if source else 1
    except NotApplicable:
        return 1


def _number(arguments: argparse.Namespace, name: str) -> float | None:
    """A positive number that was typed. Raises OptionError for anything else."""
    text = getattr(arguments, name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    most = MOST.get(name, 1e18)
    if not 0 < value <= most:
        raise OptionError(f"--{name.replace('_', '-')}={text}: give a number above 0, at most {most:g}")
    return value


def _count(arguments: argparse.Namespace, name: str) -> int | None:
    """A whole number above 0 that was typed, such as 1e6. Raises OptionError for anything else."""
    value = _number(arguments, name)
    if value is not None and value != int(value):
        raise OptionError(f"--{name.replace('_', '-')}={getattr(arguments, name)}: give a whole number, such as 1e6")
    return None if value is None else int(value)

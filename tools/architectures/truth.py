"""Where the MLP neurons of a tiny model are, known from its sizes and not from what it computes.

A tiny model's MLPs have widths that nothing else in it has. Whatever parameter matmul inside a numbered layer
reads such a width reads neurons, unless its name says otherwise. No finder looks at names or at widths, so this
is an independent answer, and it is only one for models that coverage/shrink.py made.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedConfig

from tools.architectures.exceptions import rows
from tools.architectures.sizes import DEFAULT, Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor, nn
    from transformers import PreTrainedModel

Place = tuple[str, int | None]
"""The path of a down projection, and which expert of it."""

NUMBERED = re.compile(r"(^|\.)\d+\.")
"""A path inside a numbered layer."""
OTHERWISE = re.compile(r"attn|attention|router|_hc\.|hyper_connection", re.IGNORECASE)
"""Names of what is no MLP, whatever its width: four streams of a hyper-connection are 4d wide together."""
NOTHING = r"(?!)"
"""The pattern that matches no path."""
EXPERT = re.compile(r"(experts\.\D*)(\d+)(\..+)")
"""A path inside one of several expert modules."""

_PRODUCTS = frozenset(
    {
        torch.matmul,
        torch.mm,
        torch.bmm,
        torch.Tensor.matmul,
        torch.Tensor.__matmul__,
        torch.Tensor.mm,
        torch.Tensor.bmm,
        torch.Tensor.__rmatmul__,
    }
)
_ADDED_PRODUCTS = frozenset(
    {torch.addmm, torch.Tensor.addmm, torch.baddbmm, torch.Tensor.baddbmm, torch.addbmm, torch.Tensor.addbmm}
)
_CONVOLUTIONS = frozenset(
    {functional.conv1d, functional.conv2d, functional.conv3d, torch.conv1d, torch.conv2d, torch.conv3d}
)
_FACTORS = ("input", "mat1", "batch1", "other", "mat2", "batch2")
"""What the factors of a product are called, the left one first."""


@dataclass(frozen=True)
class Reading:
    """A parameter matmul: which parameter, how many experts are stored in it (0 if it is one), the width it read."""

    path: str
    experts: int
    width: int


@dataclass(frozen=True)
class _Memory:
    """Where the parameters of a model lie, so that a view of one is known as one."""

    spans: tuple[tuple[int, int, str, Tensor], ...]

    @classmethod
    def of(cls, model: nn.Module) -> _Memory:
        """The spans in the order in which the model names its parameters: the first name of a tied one wins."""
        named = model.named_parameters(remove_duplicate=False)
        return cls(tuple((p.data_ptr(), p.data_ptr() + p.numel() * p.element_size(), n, p) for n, p in named))

    def find(self, tensor: Tensor) -> tuple[str, Tensor] | None:
        """The name of the parameter that ``tensor`` is a view of, and the parameter."""
        pointer = tensor.data_ptr() if tensor.numel() else 0
        return next(((name, p) for start, end, name, p in self.spans if start <= pointer < end), None)


@dataclass
class _Reader(TorchFunctionMode):
    """Sees every torch function of a forward pass and notes the products of data with a parameter."""

    memory: _Memory
    seen: list[Reading] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        for weight, width in _products(func, args, kwargs):
            found = self.memory.find(weight)
            if found is not None:
                name, parameter = found
                self.seen.append(Reading(name, 0 if func in _CONVOLUTIONS else _experts(parameter, weight), width))
        return func(*args, **kwargs)


def _experts(parameter: Tensor, used: Tensor) -> int:
    """How many experts a parameter holds: its first dimension of three, or as often as what was used fits in it."""
    pieces = parameter.numel() // used.numel()
    return len(parameter) if parameter.dim() == 3 else pieces if pieces > 1 else 0


def _products(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[tuple[Tensor, int]]:
    """Every factor of a product, with the width that is summed over. Parameters are among them, and data."""
    if func is functional.linear or func in _CONVOLUTIONS:
        given, weight = _nth(args, kwargs, 0, "input"), _nth(args, kwargs, 1, "weight")
        if func is functional.linear:
            yield weight, given.shape[-1]
        elif math.prod(weight.shape[2:]) == 1:
            yield weight, given.shape[1 if given.dim() == weight.dim() else 0]
    elif func in _PRODUCTS or func in _ADDED_PRODUCTS:
        left, right = [*args, *(kwargs[name] for name in _FACTORS if name in kwargs)][func in _ADDED_PRODUCTS :][:2]
        yield left, left.shape[-1]
        yield right, left.shape[-1]
    elif func is torch.einsum and isinstance(args[0], str):
        operands = args[1] if len(args) == 2 and isinstance(args[1], list | tuple) else args[1:]
        terms, _, out = args[0].replace(" ", "").partition("->")
        for term, operand in zip(terms.split(","), operands, strict=True):
            if "." not in term:
                summed = [s for letter, s in zip(term, operand.shape, strict=True) if letter not in out]
                yield operand, math.prod(summed)


def _nth(args: tuple[Any, ...], kwargs: Mapping[str, Any], index: int, name: str) -> Any:
    return args[index] if len(args) > index else kwargs[name]


def readings(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> list[Reading]:
    """The parameter matmuls of one forward pass, experts one at a time."""
    reader = _Reader(_Memory.of(model))
    with torch.no_grad(), _eager_experts(model), reader:
        model(**inputs)
    return reader.seen


@contextmanager
def _eager_experts(model: PreTrainedModel) -> Iterator[None]:
    """Experts computed one by one: other kernels work on copies of weights, which are no parameters."""
    used = (getattr(module, "config", None) for module in model.modules())
    configs = {id(config): config for config in used if isinstance(config, PreTrainedConfig)}
    before = {key: config._experts_implementation for key, config in configs.items()}
    try:
        for config in configs.values():
            config._experts_implementation = "eager"
        yield
    finally:
        for key, config in configs.items():
            config._experts_implementation = before[key]


def expected(model: PreTrainedModel, inputs: Mapping[str, Tensor], shape: Shape = DEFAULT) -> frozenset[Place]:
    """The down projections of every MLP that runs, all experts of one included.

    Paths do not depend on sizes: for a shape whose widths tell nothing, ask a model of the default shape.
    """
    if not shape.telling:
        raise ValueError(f"{shape}: the width of an MLP is another width too, so widths do not tell MLPs")
    also = re.compile(rows("*", model.config.model_type).get(":neurons", NOTHING))
    places: set[Place] = set()
    for seen in readings(model, inputs):
        telling = seen.width in shape.widths and NUMBERED.search(seen.path) and not OTHERWISE.search(seen.path)
        if telling or also.search(seen.path):
            places.update((seen.path, expert) for expert in range(seen.experts))
            if not seen.experts:
                places.add((seen.path, None))
    return frozenset(places | _siblings(model, {path for path, expert in places if expert is None}))


def _siblings(model: nn.Module, paths: set[str]) -> set[Place]:
    """The same parameter of every other expert, where each is a module: no token may have gone there."""
    patterns = [
        re.compile(re.escape(path[: m.start(2)]) + r"\d+" + re.escape(path[m.end(2) :]))
        for path in paths
        if (m := EXPERT.search(path))
    ]
    names = [name for name, _ in model.named_parameters()] if patterns else []
    return {(name, None) for name in names if any(pattern.fullmatch(name) for pattern in patterns)}

"""The expected output projections of the MLPs of a tiny model, identified by widths and names.

MLPs of a tiny model have widths that nothing else in it has. A matmul inside a numbered layer that sums over such a
width with a parameter reads neurons, unless its name says that it is no MLP. The discovery under test uses neither
widths nor names, so this answer is independent of it; it is only valid for models that shrink.py builds.
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

from tools.architectures.exceptions import exceptions_for
from tools.architectures.sizes import DEFAULT, TinyShape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor, nn
    from transformers import PreTrainedModel

Place = tuple[str, int | None]
"""The path of the parameter of an output projection, and the number of its expert, if it holds several."""

NUMBERED = re.compile(r"(^|\.)\d+\.")
"""A path inside a numbered layer."""
NOT_MLP = re.compile(r"attn|attention|router|_hc\.|hyper_connection", re.IGNORECASE)
"""Names of parameters of no MLP, for any width: the four streams of a hyper-connection are 4 × width together."""
MATCHES_NOTHING = r"(?!)"
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
"""Names of the arguments for the factors of a product, those of the left one first."""


@dataclass(frozen=True)
class ParameterMatmul:
    """A matmul with a parameter: its path, its number of experts (0 if it has none), and the width that is summed."""

    path: str
    experts: int
    width: int


@dataclass(frozen=True)
class _ParameterMemory:
    """The addresses of the parameters of a model, by which views of them are recognised."""

    spans: tuple[tuple[int, int, str, Tensor], ...]

    @classmethod
    def of(cls, model: nn.Module) -> _ParameterMemory:
        """The addresses in the order of the model's names, so that the first name of a tied parameter is found."""
        named = model.named_parameters(remove_duplicate=False)
        return cls(tuple((p.data_ptr(), p.data_ptr() + p.numel() * p.element_size(), n, p) for n, p in named))

    def find(self, tensor: Tensor) -> tuple[str, Tensor] | None:
        """The name of the parameter that ``tensor`` is a view of, and the parameter; None for data."""
        pointer = tensor.data_ptr() if tensor.numel() else 0
        return next(((name, p) for start, end, name, p in self.spans if start <= pointer < end), None)


@dataclass
class _MatmulRecorder(TorchFunctionMode):
    """Records the products with parameters among all torch functions of a forward pass."""

    memory: _ParameterMemory
    matmuls: list[ParameterMatmul] = field(default_factory=list)

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
                experts = 0 if func in _CONVOLUTIONS else _count_experts(parameter, weight)
                self.matmuls.append(ParameterMatmul(name, experts, width))
        return func(*args, **kwargs)


def _count_experts(parameter: Tensor, used: Tensor) -> int:
    """The experts in a parameter: its first dimension of three, or its size divided by that of the used part."""
    pieces = parameter.numel() // used.numel()
    return len(parameter) if parameter.dim() == 3 else pieces if pieces > 1 else 0


def _products(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[tuple[Tensor, int]]:
    """The factors of a product, parameters and data, each with the width that is summed over."""
    if func is functional.linear or func in _CONVOLUTIONS:
        data, weight = _argument(args, kwargs, 0, "input"), _argument(args, kwargs, 1, "weight")
        if func is functional.linear:
            yield weight, data.shape[-1]
        elif math.prod(weight.shape[2:]) == 1:
            yield weight, data.shape[1 if data.dim() == weight.dim() else 0]
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


def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], index: int, name: str) -> Any:
    return args[index] if len(args) > index else kwargs[name]


def parameter_matmuls(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> list[ParameterMatmul]:
    """The matmuls with parameters in one forward pass, in which experts run one at a time."""
    recorder = _MatmulRecorder(_ParameterMemory.of(model))
    with torch.no_grad(), _eager_experts(model), recorder:
        model(**inputs)
    return recorder.matmuls


@contextmanager
def _eager_experts(model: PreTrainedModel) -> Iterator[None]:
    """While open, experts run one at a time: other kernels multiply copies of weights, which are no parameters."""
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


def expected_projections(
    model: PreTrainedModel, inputs: Mapping[str, Tensor], shape: TinyShape = DEFAULT
) -> frozenset[Place]:
    """The output projections of all MLPs that run, with all experts of each.

    Paths do not depend on sizes, so those of a model of the default shape hold for other shapes. Raises ValueError for
    a shape whose widths do not identify MLPs.
    """
    if not shape.identifies_mlps:
        raise ValueError(f"{shape}: widths do not identify MLPs, because a width of an MLP is also another width")
    exception = re.compile(exceptions_for("*", model.config.model_type).get(":neurons", MATCHES_NOTHING))
    places: set[Place] = set()
    for matmul in parameter_matmuls(model, inputs):
        path = matmul.path
        in_mlp = matmul.width in shape.mlp_widths and NUMBERED.search(path) and not NOT_MLP.search(path)
        if in_mlp or exception.search(path):
            places.update((path, expert) for expert in range(matmul.experts))
            if not matmul.experts:
                places.add((path, None))
    return frozenset(places | _other_experts(model, {path for path, expert in places if expert is None}))


def _other_experts(model: nn.Module, paths: set[str]) -> set[Place]:
    """The same parameter of all experts that are modules, also of those that no token was routed to."""
    patterns = [
        re.compile(re.escape(path[: m.start(2)]) + r"\d+" + re.escape(path[m.end(2) :]))
        for path in paths
        if (m := EXPERT.search(path))
    ]
    names = [name for name, _ in model.named_parameters()] if patterns else []
    return {(name, None) for name in names if any(pattern.fullmatch(name) for pattern in patterns)}

"""Tracing: one forward pass in which every parameter matmul, token mixing, norm and embedding is recorded.

The output of each of these operations is replaced by a copy of a new autograd leaf. No architecture is known here.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.models.discovery.graph import Trace
from pytest_unineuron.models.discovery.module_hooks import ModuleHooks
from pytest_unineuron.models.discovery.parameters import (
    ParameterFinder,
    eager_experts,
)
from pytest_unineuron.models.discovery.tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn


def trace_forward(model: nn.Module, inputs: dict[str, Tensor]) -> Trace:
    """The operations of one forward pass over ``inputs``, [row, position] each; one row of a few tokens is enough."""
    trace = Trace(next(iter(inputs.values())).shape[-1])
    tracer = Tracer(trace, ParameterFinder(model))
    with torch.enable_grad(), _frozen(model), eager_experts(model), ModuleHooks(tracer).attached(model):
        model.eval()
        with tracer:
            output = model(**inputs)
    trace.output = next((value for value in _values(output) if isinstance(value, torch.Tensor)), None)
    return trace


def _values(output: Any) -> tuple[Any, ...]:
    if isinstance(output, dict):
        return tuple(output.values())
    return output if isinstance(output, tuple) else (output,)


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """While open, no parameter has a gradient. Gradients and training modes are restored afterwards."""
    trained = [p for p in model.parameters() if p.requires_grad]
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        for module, mode in modes:
            module.training = mode

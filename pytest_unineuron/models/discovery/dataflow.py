"""The norm that a matmul reads, the norms that read what it writes, and whether it writes to the residual stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.models.discovery.graph import LINEAR, NORM, Trace, TracedOp

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class InputNorm:
    """The path of the ``norm`` whose output a matmul reads; empty if there is none.

    ``obstacle`` is the reason why no norm can be folded into the weights of the matmul, empty if one can.
    """

    norm: str = ""
    obstacle: str = ""


def input_norm(trace: Trace, op: TracedOp) -> InputNorm:
    """The norm whose unchanged output ``op`` reads, if there is one."""
    x = op.inputs
    if not x.requires_grad or not len(x):
        return InputNorm()
    gradients = trace.gradients(x[x.shape[0] // 2, x.shape[1] // 2], x)
    norm = next((source for source in gradients if source.kind == NORM), None)
    if norm is None:
        return InputNorm()
    if len(gradients) > 1 or gradients[norm].count_nonzero() != 1:
        return InputNorm(obstacle="it reads more than the output of one norm")
    if bool((gradients[norm].sum() - 1).abs() > 1e-3):
        return InputNorm(obstacle=f"what it reads of {norm.module} is scaled")
    return InputNorm(norm.module)


def reading_norms(trace: Trace, op: TracedOp, model: nn.Module) -> tuple[str, ...]:
    """The norms that read the output of a matmul, one of each class, with an empty name for any other reader."""
    found: dict[str, str] = {}
    for reader in trace.readers(op):
        evenly = reader.inputs.shape[1] == op.width and (found or _reads_evenly(trace, op, reader))
        name = reader.module if reader.kind == NORM and evenly else ""
        found.setdefault(type(model.get_submodule(name)).__name__ if name else "", name)
    if trace.output is not None and op in trace.sources(trace.output):
        found.setdefault("", "")
    return tuple(found.values())


def _reads_evenly(trace: Trace, op: TracedOp, reader: TracedOp) -> bool:
    """Whether all coordinates that ``op`` writes have the same weight in the input of ``reader``.

    Only then does a constant that is added to all coordinates stay a constant.
    """
    first, second = (_slope(trace, op, reader, column) for column in (0, op.width // 2))
    return first is not None and second is not None and bool(torch.allclose(first, second, rtol=1e-3, atol=1e-6))


def _slope(trace: Trace, op: TracedOp, reader: TracedOp, column: int) -> Tensor | None:
    """The derivative of one input column of ``reader`` by the same output column of ``op``, [token]."""
    gradient = trace.gradients(reader.inputs[:, column].sum(), reader.inputs).get(op)
    return gradient[:, column] if gradient is not None and gradient.shape[1] > column else None


def residual_certainty(trace: Trace, op: TracedOp, input_width: int, common_width: int) -> int:
    """The certainty from 0 to 3 that a matmul writes to the residual stream.

    3: its output is a term of a sum that a norm or another matmul reads. Where no such sum is visible, as among
    several parallel streams, 2: it is as wide as ``common_width``, the input of most matmuls, or 1: as wide as
    ``input_width``, the input of its own units.
    """
    if _is_added(trace, op):
        return 3
    return 2 if op.width == common_width else int(op.width == input_width)


def _is_added(trace: Trace, op: TracedOp, depth: int = 2) -> bool:
    for reader in trace.readers(op):
        x = reader.inputs
        if x.shape[1] != op.width or reader.kind not in (NORM, LINEAR):
            continue
        column = op.width // 2
        gradients = trace.gradients(x[:, column].sum(), x)
        if op not in gradients or gradients[op].any(dim=0).nonzero().flatten().tolist() != [column]:
            continue
        if len(gradients) > 1:
            return True
        if reader.kind == NORM and depth:  # the output has a norm of its own before it is added
            return _is_added(trace, reader, depth - 1)
    return False

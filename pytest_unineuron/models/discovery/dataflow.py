"""What a matmul reads through and writes into, seen in a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.models.discovery.graph import LINEAR, NORM, Trace, TracedOp

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class InputNorm:
    """The ``norm`` whose output is read, or empty; ``obstacle`` says why no norm can be folded into what reads."""

    norm: str = ""
    obstacle: str = ""


def input_norm(trace: Trace, op: TracedOp) -> InputNorm:
    """What ``op`` reads: the output of one norm, unchanged, or something that no norm was applied to."""
    x = op.rows
    if not x.requires_grad or not len(x):
        return InputNorm()
    token, column = x.shape[0] // 2, x.shape[1] // 2
    depends = trace.depends(x[token, column], x)
    norms = [source for source in depends if source.kind == NORM]
    if not norms:
        return InputNorm()
    gradient = depends[norms[0]]
    if len(depends) > 1 or gradient.count_nonzero() != 1:
        return InputNorm(obstacle="it reads more than the output of one norm")
    if bool((gradient.sum() - 1).abs() > 1e-3):
        return InputNorm(obstacle=f"what it reads of {norms[0].module} is scaled")
    return InputNorm(norms[0].module)


def reading_norms(trace: Trace, op: TracedOp, model: nn.Module) -> tuple[str, ...]:
    """The norms that read what a matmul wrote, one of each class, and an empty name for anything else that does."""
    found: dict[str, str] = {}
    for later in trace.read_by(op):
        evenly = later.rows.shape[1] == op.width and (found or _evenly(trace, op, later))
        name = later.module if later.kind == NORM and evenly else ""
        found.setdefault(type(model.get_submodule(name)).__name__ if name else "", name)
    if trace.output is not None and op in trace.reached(trace.output):
        found.setdefault("", "")
    return tuple(found.values())


def _evenly(trace: Trace, op: TracedOp, later: TracedOp) -> bool:
    """Whether all coordinates that a matmul wrote count alike in what reads them, as a constant added to all would."""
    slopes = []
    for column in (0, op.width // 2):
        gradient = trace.depends(later.rows[:, column].sum(), later.rows).get(op)
        slopes.append(gradient[:, column] if gradient is not None and gradient.shape[1] > column else None)
    first, second = slopes
    return first is not None and second is not None and bool(torch.allclose(first, second, rtol=1e-3, atol=1e-6))


def residual_certainty(trace: Trace, op: TracedOp, reads: int, common: int) -> int:
    """How surely a matmul writes to the residual stream, from 0 to 3.

    3: what it wrote is a term of a sum that a norm, or at the end of a model another matmul, reads. Where no sum
    can be seen, as among several parallel streams, 2: it is as wide as ``common``, what most matmuls read, or 1:
    as wide as what ``reads`` says is read for its units.
    """
    if _added(trace, op):
        return 3
    return 2 if op.width == common else int(op.width == reads)


def _added(trace: Trace, op: TracedOp, depth: int = 2) -> bool:
    for later in trace.read_by(op):
        x = later.rows
        if x.shape[1] != op.width or later.kind not in (NORM, LINEAR):
            continue
        column = op.width // 2
        depends = trace.depends(x[:, column].sum(), x)
        if op not in depends or depends[op].any(dim=0).nonzero().flatten().tolist() != [column]:
            continue
        if len(depends) > 1:
            return True
        if later.kind == NORM and depth:  # a norm of its own, before it is added
            return _added(trace, later, depth - 1)
    return False

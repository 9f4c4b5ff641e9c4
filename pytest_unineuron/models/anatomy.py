"""What one traced forward pass tells about a model: its neurons, its heads, its unembedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import ModelError, NeuronsNotFound
from pytest_unineuron.models.neurons import Plan, find, read_norm
from pytest_unineuron.models.trace import LINEAR, Op, Trace, trace

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.models.load import Loaded

TOKENS = 14
"""Length of the traced input: long enough that a unit's slope differs between tokens."""


@dataclass(frozen=True)
class HeadPart:
    """Where one projection of one head lives: rows ``rows`` of the output of ``module``, read behind ``norm``."""

    module: str
    rows: tuple[int, ...]
    norm: str


@dataclass(frozen=True)
class Head:
    """The query and key projections of one attention head. Heads that share a key have the same ``key``."""

    layer: int
    index: int
    query: HeadPart
    key: HeadPart


@dataclass(frozen=True)
class Attention:
    """One attention layer: ``out`` is its output projection, which reads ``heads`` times ``dimension`` values."""

    layer: int
    out: str
    heads: int
    dimension: int


@dataclass(frozen=True)
class Anatomy:
    """Where things are in a model, by module path. ``width`` is that of the residual stream.

    ``unembedding`` is empty for a model without one that reads ``final_norm`` directly. ``heads`` is empty
    where attention does not show separate query and key projections, ``attentions`` where no output
    projection reads its values.
    """

    plan: Plan
    width: int
    unembedding: str
    final_norm: str
    heads: tuple[Head, ...]
    attentions: tuple[Attention, ...]


def probe_inputs(loaded: Loaded, tokens: int = TOKENS) -> dict[str, Tensor]:
    """One row of token ids, the same every time, without special tokens where there are enough others."""
    generator = torch.Generator().manual_seed(0)
    special = set(loaded.tokenizer.all_special_ids)
    plain = [token for token in range(loaded.vocabulary) if token not in special] or [0]
    chosen = torch.randint(len(plain), (1, tokens), generator=generator)
    ids = torch.tensor(plain)[chosen].to(loaded.model.device)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def dissect(loaded: Loaded) -> Anatomy:
    """The anatomy of a model. Raises NeuronsNotFound if nothing in it is an MLP neuron."""
    try:
        seen = trace(loaded.model, probe_inputs(loaded))
    except NeuronsNotFound:
        raise
    except Exception as error:  # any architecture may refuse a plain text input in its own way
        reason = (str(error).splitlines() or [""])[0]
        raise ModelError(f"{type(loaded.model).__name__} does not run on token ids alone: {reason}") from error
    words = {value for value in loaded.model.config.get_text_config().to_dict().values() if isinstance(value, str)}
    try:
        plan = find(seen, frozenset(words))
    except NeuronsNotFound as error:
        raise NeuronsNotFound(f"{type(loaded.model).__name__}: {error}") from None
    width = next(op.width for op in seen.linear() if op.module == plan.sites[0].down)
    unembedding, final_norm = _unembedding(loaded, seen)
    return Anatomy(plan, width, unembedding, final_norm, _heads(seen), _attentions(seen))


def _unembedding(loaded: Loaded, seen: Trace) -> tuple[str, str]:
    """The module that turns the last norm's output into logits, and that norm; both empty if there is none.

    Behind a masked-language-model head the last norm reads the head's own transform rather than the residual
    stream, so a neuron's write vector has no direct effect on the logits there.
    """
    head = loaded.model.get_output_embeddings()
    if head is None:
        return "", ""
    modules = dict(loaded.model.named_modules())
    path = next(name for name, module in modules.items() if module is head)
    # A tied unembedding is known to the trace by whichever module the shared weight was last seen in.
    tied = [op for op in seen.linear() if getattr(modules[op.module], "weight", None) is head.weight]
    norm = read_norm(seen, tied[-1]) if tied else None
    return (path, norm.module) if norm is not None and _reads_residual(seen, norm) else ("", "")


def _reads_residual(seen: Trace, norm: Op) -> bool:
    """Whether a norm's input is a plain sum: the same slope at every token towards each of its terms."""
    column = norm.rows.shape[1] // 2
    depends = seen.depends(norm.rows[:, column].sum())
    slopes = [gradient[:, column] for gradient in depends.values() if gradient.shape[1] > column]
    return bool(slopes) and all(bool((s - s[0]).abs().max() <= 1e-5 * s.abs().max()) for s in slopes)


def _heads(seen: Trace) -> tuple[Head, ...]:
    """The heads of every attention whose query and key come straight from parameter matmuls."""
    heads: list[Head] = []
    for layer, attention in enumerate(op for op in seen.ops if len(op.parts) == 3):
        query, key = attention.parts[0], attention.parts[1]  # [batch, head, token, dimension]
        for index in range(query.shape[1]):
            shared = index * key.shape[1] // query.shape[1]
            of_query, of_key = _head_part(seen, query[0, index]), _head_part(seen, key[0, shared])
            if of_query is None or of_key is None:
                return ()
            heads.append(Head(layer, index, of_query, of_key))
    return tuple(heads)


def _attentions(seen: Trace) -> tuple[Attention, ...]:
    """The output projections: matmuls that read nothing but the output of one attention, value by value."""
    found: list[Attention] = []
    for op in seen.linear():
        x = op.rows
        depends = list(seen.depends(x[x.shape[0] // 2, x.shape[1] // 2]))
        if op.module and len(depends) == 1 and len(depends[0].parts) == 3:
            _, heads, _, dimension = depends[0].leaf.shape
            if heads * dimension == x.shape[1]:
                found.append(Attention(len(found), op.module, heads, dimension))
    return tuple(found)


def _head_part(seen: Trace, part: Tensor) -> HeadPart | None:
    """The rows of the one matmul that ``part`` [token, dimension] is made of."""
    # Random weights, since rotary positions could let a plain sum cancel.
    weights = torch.rand(part.shape, generator=torch.Generator().manual_seed(0)).to(part)
    depends = seen.depends((part * weights).sum())
    if len(depends) != 1:
        return None
    ((op, gradient),) = depends.items()
    if op.kind != LINEAR:
        return None
    norm = read_norm(seen, op)
    rows = tuple(gradient.any(dim=0).nonzero().flatten().tolist())
    return HeadPart(op.module, rows, norm.module if norm is not None else "")

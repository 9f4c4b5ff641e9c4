"""Neurons and the heads below and above them: how much of what one writes the other reads, from weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.weights.heads import (
    folded,
    folded_output,
    require_norms_of_heads,
    require_plain_queries,
    require_value,
)
from pytest_unineuron.roles.composition import ranks
from pytest_unineuron.roles.mixtures import mixtures

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.models.discovery.attention import Head
    from pytest_unineuron.models.discovery.layout import NeuronLayer
    from pytest_unineuron.models.weights.weight_view import WeightView

QUERY, KEY, VALUE, OUTPUT = "query", "key", "value", "output"
"""What of a head meets a neuron: its queries, keys or values read what the neuron writes, or the neuron reads what the
head writes."""
MIXTURES = 1000


def head_composition(view: WeightView) -> dict[str, Tensor]:
    """Return the largest composition of every neuron with a head, and its rank, [2, neuron], for each part of a head.

    Query, key and value are those of the heads of later layers, which read what the neuron writes; output is that of
    the heads before the neuron, which write what it reads: those of earlier layers, and of its own layer unless
    attention and neurons of a block run in parallel. A score is ‖W_K W_Qᵀ ŵ‖ / ‖W_K W_Qᵀ‖_F and the like, with unit
    ŵ (Elhage et al. 2021): 0 to 1, and √(1/width) for a random direction. The rank is the share of random mixtures of
    what the layer writes, or reads, with a smaller largest score. Both are nan for a neuron without such a head. Rotary
    positions are left out, as at distance zero. Raises NotApplicable where attention cannot be folded.
    """
    layers = view.anatomy.layout.per_token.layers
    if any(write is None for write in view.stream_writes):
        raise NotApplicable("neurons of an encoder and a decoder meet different heads")
    if not view.anatomy.heads:
        raise NotApplicable("no attention with separate query and key projections was found")
    circuits = [(head, circuits_of(*parts_of(view, head))) for head in view.anatomy.heads]
    found: dict[str, list[Tensor]] = {QUERY: [], KEY: [], VALUE: [], OUTPUT: []}
    for layer, weights, write in zip(layers, view.layers, view.stream_writes, strict=True):
        written, read = (
            (vectors, mixtures(vectors, MIXTURES, seed=4))
            for vectors in (weights.read if write is None else write, weights.read)
        )
        for part, scores in found.items():
            meets, (vectors, mixed) = (_is_before, read) if part == OUTPUT else (_is_later, written)
            met = [of[part] for head, of in circuits if meets(head, layer)]
            largest, null = largest_score(vectors, met), largest_score(mixed, met).sort().values
            scores.append(torch.stack([largest, ranks(largest, null)]).cpu())
    return {part: torch.cat(scores, dim=1) for part, scores in found.items()}


def _is_later(head: Head, layer: NeuronLayer) -> bool:
    return head.layer > layer.number


def _is_before(head: Head, layer: NeuronLayer) -> bool:
    return head.layer < layer.number or (head.layer == layer.number and head.before_neurons)


def parts_of(view: WeightView, head: Head) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return W_Q, W_K and W_V with norms folded, each [dimension of the head, width], and W_O, [width, dimension].

    Raises NotApplicable for queries and keys with norms of their own, and for a head that reads something else than the
    residual stream.
    """
    require_plain_queries(head)
    read = head.query, head.key, require_value(head)
    if any(part.width != view.anatomy.width for part in read):
        raise NotApplicable("the heads of this model do not read the residual stream itself")
    require_norms_of_heads(view, *(part.input_norm.norm for part in read))
    query, key, value = (folded(view, part) for part in read)
    return query, key, value, folded_output(view, head)


def circuits_of(query: Tensor, key: Tensor, value: Tensor, output: Tensor) -> dict[str, Tensor]:
    """Return, for each part of a head, a matrix [row, width] that changes the length of a vector as the circuit does.

    The circuit of queries is W_K W_Qᵀ in the orientation of the methods: it has the length of R W_Q, where R is the
    triangular factor of W_Kᵀ.
    """
    query, key, value, output = (part.double() for part in (query, key, value, output))
    return {
        QUERY: _triangle(key.T) @ query,
        KEY: _triangle(query.T) @ key,
        VALUE: _triangle(output) @ value,
        OUTPUT: _triangle(value.T) @ output.T,
    }


def largest_score(vectors: Tensor, circuits: list[Tensor]) -> Tensor:
    """Return the largest ‖A v‖ / ‖A‖_F over circuits A for each row v of ``vectors`` [row, width], at unit length."""
    largest = torch.full((len(vectors),), torch.nan, dtype=torch.float64, device=vectors.device)
    unit = normalize(vectors.double(), dim=1).to(vectors.dtype)
    for circuit in circuits:
        score = (unit @ circuit.T.to(unit)).norm(dim=1).double() / circuit.norm().to(unit.device)
        largest = torch.fmax(largest, score)
    return largest


def _triangle(matrix: Tensor) -> Tensor:
    triangle: Tensor = torch.linalg.qr(matrix).R
    return triangle

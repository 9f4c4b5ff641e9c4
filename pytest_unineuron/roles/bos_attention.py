"""Attention neurons: they move later heads towards the first token of a text, BOS, or away from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from pytest_unineuron.corpora.encode import special_tokens
from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.discovery.anatomy import probe_ids
from pytest_unineuron.models.discovery.attention import attention_calls
from pytest_unineuron.models.discovery.dataflow import input_norm
from pytest_unineuron.models.discovery.graph import LINEAR
from pytest_unineuron.models.discovery.trace import trace_forward
from pytest_unineuron.models.loading.forward import text_arguments
from pytest_unineuron.models.weights.heads import require_norms_of_heads
from pytest_unineuron.models.weights.weight_view import fold
from pytest_unineuron.roles.mixtures import mixtures

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.models.discovery.attention import AttentionCall
    from pytest_unineuron.models.discovery.graph import Trace
    from pytest_unineuron.models.weights.weight_view import WeightView

MIXTURES = 2000


def bos_alignment(view: WeightView) -> Tensor:
    """Return, for every neuron, its largest cosine with the BOS query direction of a later head, [3, neuron] float64.

    The first row is the cosine of largest size: a neuron with a positive one raises the attention logit of BOS when it
    fires, and so the attention to it where the key of BOS is unlike those of other tokens, as that of a sink is. This
    turns the head off (Gurnee et al. 2024, section 5.3). Where other tokens have larger keys in the same direction,
    their logits rise more, and the attention to BOS falls. The second is the share of random mixtures of what the layer
    writes whose largest cosine is smaller, the third the number of the head. All are nan for neurons without a later
    head. Raises NotApplicable for a model without BOS, with an encoder and a decoder, or whose queries are not made of
    one projection behind a norm.
    """
    layers = view.anatomy.layout.per_token.layers
    if any(write is None for write in view.stream_writes):
        raise NotApplicable("neurons of an encoder and a decoder are before different heads")
    number, directions = bos_query_directions(view)  # [head], [head, width]
    found = []
    for layer, write in zip(layers, view.stream_writes, strict=True):
        later = directions[number > layer.number]
        if write is None or not len(later):
            found.append(torch.full((3, layer.width), torch.nan, dtype=torch.float64))
            continue
        cosines = normalize(write.to(directions), dim=1) @ later.T  # [neuron, head]
        head = cosines.abs().argmax(dim=1)
        largest = cosines.gather(1, head[:, None])[:, 0]
        numbers = (number > layer.number).nonzero().flatten()[head].double()
        null = (mixtures(write, MIXTURES, seed=2).to(directions) @ later.T).abs().amax(dim=1).sort().values
        share = torch.searchsorted(null, largest.abs().contiguous()).double() / len(null)
        found.append(torch.stack([largest, share, numbers]).cpu())
    return torch.cat(found, dim=1)


def bos_query_directions(view: WeightView) -> tuple[Tensor, Tensor]:
    """Return the layer of every head, [head], and how its attention logit for BOS depends on its input, [head, width].

    A direction is the gradient of that logit by the normalised input of a query, of length 1 at each of a few
    destinations and averaged over them, so it is right for rotary positions too: W_Qᵀ k_BOS where there are none. The
    norm is folded in. Raises NotApplicable.
    """
    before, _ = special_tokens(view.loaded.tokenizer)
    if not before:
        raise NotApplicable("this model's texts have no token before them, such as BOS")
    ids = torch.cat([torch.tensor([before[:1]]), probe_ids(view.loaded)], dim=1)
    trace = trace_forward(view.loaded.model, text_arguments(view.loaded.model, ids, torch.ones_like(ids)))
    numbers, directions = [], []
    for number, call in enumerate(attention_calls(trace)):
        numbers += [call.layer(number)] * call.heads
        directions += [_direction(view, trace, call, head) for head in range(call.heads)]
    if not directions:
        raise NotApplicable("no attention was found in this model")
    return torch.tensor(numbers, device=directions[0].device), torch.stack(directions)


def _direction(view: WeightView, trace: Trace, call: AttentionCall, head: int) -> Tensor:
    key = call.key[head * len(call.key) // call.heads, 0].detach()
    if not key.any():
        raise NotApplicable("the key of BOS is zero in this model, as where its embedding is that of padding")
    sources = trace.gradients((call.query[head, 1:] @ key).sum(), call.query)
    if [op.kind for op in sources] != [LINEAR]:
        raise NotApplicable("the queries of this model are not the output of one projection")
    ((op, gradient),) = sources.items()  # [token, output]
    norm = input_norm(trace, op)
    if norm.obstacle:
        raise NotApplicable(f"attention cannot be folded: {norm.obstacle}")
    require_norms_of_heads(view, norm.norm)
    width = op.inputs.shape[1]
    if width != view.anatomy.width:
        raise NotApplicable("the queries of this model do not read the residual stream itself")
    rows = gradient[1:].double() @ view.linear(op.projection, width).weight.double()
    return normalize(normalize(fold(rows, view.norm(norm.norm, width)).double(), dim=1).mean(dim=0), dim=0)

"""What a last-layer neuron's effect on the entropy of predictions goes through: the final norm, or token frequency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.loading.forward import run_model
from pytest_unineuron.models.weights.weight_view import centred
from pytest_unineuron.roles.direct_effects import require_direct_logits, require_direct_writes
from pytest_unineuron.roles.interventions import Effects, changed_units, predicting, require_predictions
from pytest_unineuron.roles.token_frequency import log_frequency

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.weights.weight_view import WeightView

EVERY = 4
"""One of so many tokens is read: neighbouring ones resemble each other."""
VALUES_AT_ONCE = 2**22
"""Logits in memory at a time."""


def scale_mediation(view: WeightView, batches: Sequence[Batch], neurons: Tensor) -> Effects:
    """Return how much of what a neuron of the last layer does to predictions goes through the scale of the final norm.

    Direct is the change with that scale frozen (Stolfo et al. 2024, section 3.2). All else is as for ``_mediation``.
    """
    return _mediation(view, batches, neurons, lambda before, after, step: before + step)


def frequency_mediation(view: WeightView, batches: Sequence[Batch], neurons: Tensor, counts: Tensor) -> Effects:
    """Return how much of what a neuron of the last layer does to predictions goes along token frequency.

    Direct is the change with the logits' component along log frequency frozen (Stolfo et al. 2024, section 4). It is
    standardised over tokens, of which there are ``counts`` [token] in a text. All else is as for ``_mediation``.
    """
    rows = len(view.unembedding_weight.weight)
    unit = log_frequency(counts, min(rows, view.loaded.vocabulary))
    unit = torch.nn.functional.pad(unit, (0, rows - len(unit)))  # padding rows of the unembedding are no tokens
    unit = unit.to(view.unembedding_weight.weight.device)

    def frozen(before: Tensor, after: Tensor, step: Tensor) -> Tensor:
        return after - ((after - before) @ unit)[:, None] * unit

    return _mediation(view, batches, neurons, frozen)


def _mediation(
    view: WeightView, batches: Sequence[Batch], neurons: Tensor, frozen: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> Effects:
    """Return how the entropy of predictions changes when a neuron of the last layer is at its mean, for each of them.

    ``neurons`` [condition] are their numbers in the last layer. ``total`` is the size of the change in nats, ``direct``
    the same of the logits that ``frozen`` returns, in which one way is closed, and ``mediated`` the size of the
    difference between the two: they can cancel, since the length of what the unembedding reads is fixed. ``frozen`` is
    given the logits before and after, and by how much they change under the scale of the norm as it was, [token,
    vocabulary] each. Since nothing reads these neurons but the final norm, all follow from one run. Raises
    NotApplicable where logits are bent by a soft cap or scaled, where the model predicts no next token, where what
    neurons write is scaled or has a norm of its own, and for a last layer that has a shared expert beside others.
    """
    numbers = [layer.number for layer in view.anatomy.layout.per_token.layers]
    if numbers.count(numbers[-1]) > 1:
        raise NotApplicable("the last layer of this model has several sets of neurons")
    require_predictions(view, batches[0])
    if view.anatomy.capped:
        raise NotApplicable("the last layer of this model acts on its logits through more than the scale of one norm")
    require_direct_writes(view, batches[0], len(view.layers) - 1)
    require_direct_logits(view, batches[0])
    write = view.layers[-1].write
    norm = view.norm(view.anatomy.final_norm, view.anatomy.width)
    assert norm is not None
    linear = view.unembedding_weight
    # As in the model itself: the unembedding with the gain, and what is added to the logits whatever the stream is.
    unembedding = (linear.weight * norm.gain.to(linear.weight.device)).float()
    shift = linear.weight @ norm.shift.to(linear.weight.device) + (0 if linear.bias is None else linear.bias)
    written = (centred(write) if norm.centres else write)[neurons].to(unembedding)  # [condition, width]
    logits_of_unit = (written @ unembedding.T).double()  # [condition, vocabulary]
    group, stream, normal, units = (found.to(unembedding.device) for found in _observe(view, batches, neurons))
    stream = centred(stream) if norm.centres else stream
    change = units.mean(dim=0) - units  # [token, condition]
    scale, after = scales(stream, normal, change, written.double())
    total, direct, mediated = torch.zeros(3, len(neurons), int(group.max()) + 1, dtype=torch.float64).to(group.device)
    for rows in torch.arange(len(group)).split(max(1, VALUES_AT_ONCE // len(shift))):
        logits, s = (normal[rows].to(unembedding) @ unembedding.T).double(), scale[rows][:, None]
        before = logits + shift
        clean = entropy(before)
        for number, of_unit in enumerate(logits_of_unit):
            step, moved = change[rows, number][:, None] * of_unit, after[rows, number][:, None]
            changed = (logits * s + step) / moved + shift
            whole, closed = entropy(changed) - clean, entropy(frozen(before, changed, step / s)) - clean
            for sums, found in ((total, whole), (direct, closed), (mediated, whole - closed)):
                sums[number].index_add_(0, group[rows], found.abs())
    tokens = torch.bincount(group).double()
    sums = {"total": total, "direct": direct, "mediated": mediated}
    return Effects({name: of[:, tokens > 0].cpu() for name, of in sums.items()}, tokens[tokens > 0].cpu())


def scales(stream: Tensor, normal: Tensor, change: Tensor, written: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scale of the final norm, [token], and after each change of the stream, [token, condition].

    ``stream`` and its ``normal`` form are [token, width]; ``written`` [condition, width] is multiplied by ``change``
    [token, condition]. The epsilon of the norm is in both.
    """
    width = stream.shape[1]
    scale = stream.norm(dim=1) / normal.norm(dim=1).clamp_min(1e-30)
    epsilon = scale**2 - stream.square().mean(dim=1)
    added = 2 * change * (stream @ written.T) + change**2 * written.square().sum(dim=1)
    after = (stream.square().mean(dim=1) + epsilon)[:, None] + added / width
    return scale, after.clamp_min(1e-30).sqrt()


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy in nats of the softmax of ``logits`` [token, vocabulary], [token]."""
    logs = logits.log_softmax(dim=-1)
    return -(logs.exp() * logs).sum(dim=-1)


def _observe(view: WeightView, batches: Sequence[Batch], neurons: Tensor) -> Any:
    """The group, the stream before the final norm, its normal form and the chosen units at some predicting tokens.

    They are [token], [token, width] twice, and [token, condition], float64 on the CPU.
    """
    norm_path, width = view.anatomy.final_norm, view.anatomy.width
    norm = view.norm(norm_path, width)
    assert norm is not None
    seen: dict[str, Tensor] = {}

    def keep(units: Tensor) -> Tensor:
        seen["units"] = units[..., neurons.to(units.device)]
        return units

    def at_norm(module: Any, args: tuple[Any, ...], output: Tensor) -> None:
        seen.update(stream=args[0], normal=norm.normal_form(output))

    hook = view.loaded.model.get_submodule(norm_path).register_forward_hook(at_norm)
    parts = []
    try:
        with changed_units(view, {len(view.anatomy.layout.per_token.layers) - 1: keep}):
            for batch in batches:
                run_model(view.loaded.model, batch.ids, batch.attention_mask, whole=True)
                read = torch.nn.functional.pad(predicting(batch), (0, 1)).flatten().nonzero().flatten()[::EVERY]
                values = [
                    seen[name].reshape(-1, seen[name].shape[-1])[read].double().cpu()
                    for name in ("stream", "normal", "units")
                ]
                parts.append([torch.full((len(read),), batch.group), *values])
    finally:
        hook.remove()
    return [torch.cat(column) for column in zip(*parts, strict=True)]

"""Neurons set to their mean, or to any value, while a model runs, and how its predictions change."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.activations.sinks import find_sinks
from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.loading.forward import run_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.discovery.layout import NeuronLayer
    from pytest_unineuron.models.weights.weight_view import WeightView

    Change = Callable[[Tensor], Tensor]
    """Makes other units of the units [..., unit] that an output projection reads."""

LOGITS_AT_ONCE = 2**24
"""Logits that a model computes in one pass, for all that is changed at once."""
VALUES_AT_ONCE = 2**20
"""Log probabilities that are compared at a time."""


@dataclass(frozen=True, eq=False)
class Effects:
    """How predictions of the next token change, as means over tokens, with document groups for the jackknife.

    ``sums`` holds, by quantity, the sum over the ``tokens`` [group] of each group, [condition, group].
    """

    sums: Mapping[str, Tensor]
    tokens: Tensor

    @property
    def groups(self) -> int:
        """The number of document groups."""
        return len(self.tokens)

    def without(self, group: int) -> Effects:
        """Return the effects without one group."""
        keep = torch.arange(self.groups) != group
        return Effects({name: of[:, keep] for name, of in self.sums.items()}, self.tokens[keep])

    def mean(self, quantity: str) -> Any:
        """Return the mean of a quantity over tokens, [condition] float64."""
        return (self.sums[quantity].sum(dim=1) / self.tokens.sum()).numpy()


@contextmanager
def changed_units(view: WeightView, changes: Mapping[int, Change]) -> Iterator[None]:
    """While open, the units of some layers, by their number in the layout, are changed wherever the model runs.

    Raises NotApplicable for units that are not the input of a module of their own, such as those of experts.
    """
    hooks = [_hook(view, view.anatomy.layout.per_token.layers[index], change) for index, change in changes.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def set_units(chosen: Tensor, values: Tensor, mask: Tensor) -> Change:
    """Return the change that sets units to their ``values`` [unit] at the tokens that ``mask`` [row, position] marks.

    ``chosen`` [copy, unit] marks others in each copy of the rows, which lie one after the other.
    """

    def change(units: Tensor) -> Tensor:
        (rows, positions), copies = mask.shape, len(chosen)
        by_copy = _by_token(units, torch.Size((copies * rows, positions))).unflatten(0, (copies, rows))
        marked = mask.to(units.device)[None, :, :, None] & chosen.to(units.device)[:, None, None, :]
        return torch.where(marked, values.to(units), by_copy).reshape(units.shape)

    return change


def ordinary_tokens(view: WeightView, batches: Sequence[Batch]) -> list[Tensor]:
    """Return the tokens of text that are no attention sinks, [row, position] for each of some batches."""
    sinks = torch.tensor(find_sinks(view.loaded.model, view.anatomy.layout, batches).tokens, dtype=torch.long)
    masks = [batch.text_mask.clone() for batch in batches]
    for batch, mask in zip(batches, masks, strict=True):
        mask[batch.text_mask] = ~torch.isin(batch.offset + torch.arange(batch.tokens), sinks)
    return masks


def mean_units(view: WeightView, batches: Sequence[Batch], masks: Sequence[Tensor]) -> list[Tensor]:
    """Return the mean of every unit over the tokens that ``masks`` mark in each batch, [unit] float64 by layer."""
    layers = view.anatomy.layout.per_token.layers
    sums = [torch.zeros(layer.width, dtype=torch.float64) for layer in layers]
    mask = torch.empty(0)

    def watch(number: int) -> Change:
        def add(units: Tensor) -> Tensor:
            rows = _by_token(units, mask.shape)
            sums[number] += (rows.double() * mask.to(rows.device)[..., None]).sum(dim=(0, 1)).cpu()
            return units

        return add

    with changed_units(view, {number: watch(number) for number in range(len(layers))}):
        for batch, mask in zip(batches, masks, strict=True):  # noqa: B007 - watched
            run_model(view.loaded.model, batch.ids, batch.attention_mask)
    tokens = sum(int(mask.sum()) for mask in masks)
    return [total / tokens for total in sums]


def ablation_effects(view: WeightView, batches: Sequence[Batch], sets: Tensor) -> Effects:
    """Return how predictions change when all neurons of a set are at their mean, for each of ``sets`` [set, neuron].

    They are so at the tokens of text that are no attention sinks, and the mean is over these: who changes a sink, or
    BOS, changes what every later head attends to. ``loss`` is the rise of the cross entropy of the next token, ``kl``
    the divergence of the new prediction from the old one; both in nats. They are compared in float64: a divergence is a
    small difference of large numbers. Raises NotApplicable for a model that predicts no next token, and for experts.
    """
    require_predictions(view, batches[0])
    masks = ordinary_tokens(view, batches)
    means = mean_units(view, batches, masks)
    groups = 1 + max(batch.group for batch in batches)
    tokens = torch.zeros(groups, dtype=torch.float64)
    loss, kl = torch.zeros(2, len(sets), groups, dtype=torch.float64)
    for batch, mask in zip(batches, masks, strict=True):
        before = next_token_logits(view, batch).double().log_softmax(dim=-1)
        targets = batch.ids[:, 1:][predicting(batch)].to(before.device)
        tokens[batch.group] += len(before)
        at_once = max(1, LOGITS_AT_ONCE // (batch.ids.numel() * before.shape[1]))
        for numbers in torch.arange(len(sets)).split(at_once):
            with changed_units(view, _to_mean(sets[numbers].bool(), means, mask)):
                after = next_token_logits(view, _copies(batch, len(numbers))).view(len(numbers), *before.shape)
            for number, changed in zip(numbers.tolist(), after, strict=True):
                for place, sums in zip((loss, kl), _changes(before, changed, targets), strict=True):
                    place[number, batch.group] += sums
    read = tokens > 0
    return Effects({"loss": loss[:, read], "kl": kl[:, read]}, tokens[read])


def require_predictions(view: WeightView, batch: Batch) -> None:
    """Raise NotApplicable for a model that predicts no next token, or that has read the tokens that it predicts."""
    name = type(view.loaded.model).__name__
    if not view.anatomy.unembedding:
        raise NotApplicable(f"{name} predicts no next token from its last norm")
    row = int(batch.text_mask.sum(dim=1).argmax())
    ids, attended = batch.ids[[row]], batch.attention_mask[[row]]
    places = batch.text_mask[row].nonzero().flatten()
    changed, others = ids.clone(), batch.ids[batch.text_mask & (batch.ids != ids[0, places[-1]])]
    changed[0, places[-1]] = others[0] if len(others) else 0  # a text of one token repeated
    before, after = (
        run_model(view.loaded.model, each, attended, whole=True)[0][0, places[:-1]] for each in (ids, changed)
    )
    if bool((before - after).norm() > 1e-3 * before.norm()):
        raise NotApplicable(f"{name} reads the tokens that it predicts")


def predicting(batch: Batch) -> Tensor:
    """Return the positions whose next token is text, [row, position − 1]; the first one may follow BOS."""
    return batch.text_mask[:, 1:] & batch.text_mask[:, :-1]


def next_token_logits(view: WeightView, batch: Batch) -> Tensor:
    """Return the logits of the next token where that is text, [token, vocabulary]."""
    logits: Tensor = run_model(view.loaded.model, batch.ids, batch.attention_mask, whole=True)[0]
    return logits[:, :-1][predicting(batch).to(logits.device)]


def _changes(before: Tensor, after: Tensor, targets: Tensor) -> tuple[float, float]:
    """The rise of the cross entropy, and the divergence, summed over tokens.

    ``before`` are log probabilities and ``after`` logits, [token, vocabulary]; ``targets`` [token] are the next tokens.
    """
    loss = kl = 0.0
    for rows in torch.arange(len(before)).split(max(1, VALUES_AT_ONCE // before.shape[1])):
        change = before[rows] - after[rows].double().log_softmax(dim=-1)
        loss += float(change.gather(1, targets[rows][:, None]).sum())
        kl += float((before[rows].exp() * change).sum())
    return loss, kl


def _copies(batch: Batch, count: int) -> Batch:
    """A batch with all its rows so many times, one copy after the other."""
    repeated = {name: getattr(batch, name).repeat(count, 1) for name in ("ids", "attention_mask", "text_mask")}
    return replace(batch, **repeated)


def _to_mean(sets: Tensor, means: Sequence[Tensor], mask: Tensor) -> dict[int, Change]:
    """The changes that set the neurons of each of ``sets`` [copy, neuron] to their mean where ``mask`` is set."""
    parts = sets.split([len(mean) for mean in means], dim=1)
    return {
        number: set_units(part, mean, mask)
        for number, (part, mean) in enumerate(zip(parts, means, strict=True))
        if bool(part.any())
    }


def _hook(view: WeightView, layer: NeuronLayer, change: Change) -> torch.utils.hooks.RemovableHandle:
    shared = [other for other in view.anatomy.layout.per_token.layers if other.down == layer.down]
    if layer.expert is not None or not layer.down.whole or layer.down.channels_first or len(shared) > 1:
        raise NotApplicable(f"the neurons of layer {layer.number} are not the input of a module of their own")

    def before(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (change(args[0]), *args[1:])

    module: torch.nn.Module = view.loaded.model.get_submodule(layer.down.module)
    return module.register_forward_pre_hook(before)


def _by_token(units: Tensor, shape: torch.Size) -> Tensor:
    """Units as [row, position, unit]. Raises NotApplicable for rows that are not the tokens of the texts in order."""
    if units.shape[:-1].numel() != shape.numel() or (units.dim() == 3 and units.shape[:2] != shape):
        raise NotApplicable("the rows of this model's neurons are not the tokens of the texts in order")
    return units.reshape(*shape, units.shape[-1])

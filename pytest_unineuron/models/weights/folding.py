"""Running a model on its folded weights: what shows that they are the weights that act."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.weights.weight_view import centred, fold, shifted_bias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from pytest_unineuron.models.discovery.layout import Projection
    from pytest_unineuron.models.discovery.matrix import LinearMap
    from pytest_unineuron.models.weights.norms import Norm
    from pytest_unineuron.models.weights.weight_view import WeightView


@contextmanager
def folded_weights(view: WeightView) -> Iterator[list[str]]:
    """While open, the model multiplies by folded and centred weights instead of its own.

    What reads the residual stream behind a norm (neurons, queries, keys, values, unembedding) is given that norm's
    normal form, without gain and shift, and multiplies it by the weights with gain and shift folded in; what
    neurons write is centred where every reader centres. Up to rounding the log-probabilities stay as they are.
    Yields the paths of what was replaced. Projections that are no modules of their own, or that read different
    norms in different layers, are left alone; logits under a soft cap are not centred over the vocabulary.
    """
    modules = dict(view.loaded.model.named_modules())
    replaced = {**dict(_readers(view)), **dict(_writers(view))}
    handles = [modules[path].register_forward_hook(hook) for path, hook in replaced.items()]
    try:
        yield sorted(replaced)
    finally:
        for handle in handles:
            handle.remove()


def _readers(view: WeightView) -> Iterator[tuple[str, Callable[..., Tensor]]]:
    anatomy = view.anatomy
    behind: dict[tuple[Projection, int], set[str]] = {}
    for site in anatomy.layout.layers:
        for rows in site.up:
            behind.setdefault((rows.projection, site.input_width), set()).add("" if site.obstacle else site.norm)
    for head in anatomy.heads:
        for part in (head.query, head.key, head.value):
            if part is not None:
                behind.setdefault((part.projection, part.width), set()).add(part.input_norm.norm)
    for (projection, width), norms in behind.items():
        known = _norm(view, norms.pop(), width) if len(norms) == 1 and projection.whole else None
        if known is not None and not projection.channels_first:
            yield projection.module, _read(view.linear(projection, width), known)
    if anatomy.unembedding and (known := _norm(view, anatomy.final_norm, anatomy.width)) is not None:
        yield anatomy.unembedding, _read(view.unembedding_weight, known, vocabulary=not anatomy.capped)


def _norm(view: WeightView, path: str, width: int) -> Norm | None:
    try:
        return view.norm(path, width)
    except NotApplicable:
        return None


def _writers(view: WeightView) -> Iterator[tuple[str, Callable[..., Tensor]]]:
    for site in view.anatomy.layout.layers:
        if site.down.whole and not site.down.channels_first and view.centres(site):
            yield site.down.module, _centre


def _centre(module: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return centred(output)  # as centring the weight and the bias would


def _read(linear: LinearMap, norm: Norm, *, vocabulary: bool = False) -> Callable[..., Tensor]:
    weight = fold(linear.weight, norm)
    bias = shifted_bias(linear.bias if linear.bias is not None else weight.new_zeros(len(weight)), linear.weight, norm)
    if vocabulary:
        weight = weight - weight.mean(dim=0)

    def hook(module: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return norm.normal(args[0]) @ weight.T + bias

    return hook

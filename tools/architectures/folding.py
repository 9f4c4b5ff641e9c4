"""Running a model on its folded weights, as a proof that these are the weights that act."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.weights.weight_view import centred, fold, fold_bias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from pytest_unineuron.models.discovery.layout import Projection
    from pytest_unineuron.models.discovery.matrix import LinearMap
    from pytest_unineuron.models.weights.norms import Norm
    from pytest_unineuron.models.weights.weight_view import WeightView


@contextmanager
def folded_weights(view: WeightView) -> Iterator[list[str]]:
    """While open, the model multiplies by folded and centred weights instead of its own; yields the paths of these.

    Everything that reads the residual stream behind a norm (neurons, queries, keys, values, unembedding) multiplies
    the normal form of that norm, without gain and shift, by weights that have gain and shift folded in. The output of
    neurons is centred where every reader centres. Log-probabilities stay the same up to rounding. Projections that are
    no whole modules, or that read different norms in different layers, are not replaced; logits under a soft cap are
    not centred over the vocabulary.
    """
    modules = dict(view.loaded.model.named_modules())
    replaced = {**dict(_folded_readers(view)), **dict(_centred_writers(view))}
    handles = [modules[path].register_forward_hook(hook) for path, hook in replaced.items()]
    try:
        yield sorted(replaced)
    finally:
        for handle in handles:
            handle.remove()


def _folded_readers(view: WeightView) -> Iterator[tuple[str, Callable[..., Tensor]]]:
    """The path of every module that reads a norm, with a hook that replaces its output."""
    anatomy = view.anatomy
    for (projection, width), norms in _norms_by_reader(view).items():
        norm = _norm(view, norms.pop(), width) if len(norms) == 1 and projection.whole else None
        if norm is not None and not projection.channels_first:
            yield projection.module, _folded(view.linear(projection, width), norm)
    if anatomy.unembedding and (norm := _norm(view, anatomy.final_norm, anatomy.width)) is not None:
        yield anatomy.unembedding, _folded(view.unembedding_weight, norm, vocabulary=not anatomy.capped)


def _norms_by_reader(view: WeightView) -> dict[tuple[Projection, int], set[str]]:
    """The paths of the norms that each projection of neurons and heads reads, with its input width."""
    norms: dict[tuple[Projection, int], set[str]] = {}
    for layer in view.anatomy.layout.layers:
        for factor in layer.up:
            path = "" if layer.obstacle else layer.norm
            norms.setdefault((factor.projection, layer.input_width), set()).add(path)
    for head in view.anatomy.heads:
        for part in (head.query, head.key, head.value):
            if part is not None:
                norms.setdefault((part.projection, part.width), set()).add(part.input_norm.norm)
    return norms


def _norm(view: WeightView, path: str, width: int) -> Norm | None:
    try:
        return view.norm(path, width)
    except NotApplicable:
        return None


def _centred_writers(view: WeightView) -> Iterator[tuple[str, Callable[..., Tensor]]]:
    """The path of every output projection whose readers all centre, with a hook that centres its output."""
    for layer in view.anatomy.layout.layers:
        if layer.down.whole and not layer.down.channels_first and view.centres(layer):
            yield layer.down.module, _centre


def _centre(module: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return centred(output)  # equal to centring the weight and the bias


def _folded(linear: LinearMap, norm: Norm, *, vocabulary: bool = False) -> Callable[..., Tensor]:
    """A hook that computes the output from folded weights, centred over the vocabulary if asked for."""
    weight = fold(linear.weight, norm)
    bias = fold_bias(linear.bias if linear.bias is not None else weight.new_zeros(len(weight)), linear.weight, norm)
    if vocabulary:
        weight = weight - weight.mean(dim=0)

    def hook(module: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return norm.normal_form(args[0]) @ weight.T + bias

    return hook

"""The weights of a model per neuron: in one orientation, with norms folded in and writes centred.

Folding follows appendix A.1 of Gurnee et al. 2024. With the gain γ and the shift β of the norm that a neuron reads,
its read vector is ŵ = γ ⊙ w (centred if the norm centres) and its bias is b̂ = b + w · β with the raw w. Its write
vector is centred if every norm that reads it centres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.discovery.layout import Projection
from pytest_unineuron.models.discovery.matrix import LinearMap, projection_matrix
from pytest_unineuron.models.weights.norms import Norm, probe_norm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from pytest_unineuron.models.discovery.anatomy import Anatomy
    from pytest_unineuron.models.discovery.layout import NeuronLayer, ProjectionSlice
    from pytest_unineuron.models.loading.load import LoadedModel


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """The weights of one neuron layer, in float32 or float64.

    ``read`` and ``write`` are [unit, width] with norms folded in and writes centred. In a gated layer ``read`` belongs
    to the factor that the activation function acts on, and ``gate`` [unit, width] to the other one; it is None in a
    plain layer. ``bias`` is [unit] with the norm's shift, None for a layer without a bias.
    """

    layer: int
    read: Tensor
    gate: Tensor | None
    write: Tensor
    bias: Tensor | None


class WeightView:
    """The weights of a model, each computed when it is first used.

    ``loaded`` is the model, or a function that loads it once weights are asked for.
    """

    def __init__(self, loaded: LoadedModel | Callable[[], LoadedModel], anatomy: Anatomy) -> None:
        self._loaded = loaded
        self.anatomy = anatomy
        self._linear: dict[tuple[Projection, int], LinearMap] = {}

    @cached_property
    def loaded(self) -> LoadedModel:
        """The loaded model. Raises ModelError."""
        return self._loaded() if callable(self._loaded) else self._loaded

    @cached_property
    def _modules(self) -> dict[str, nn.Module]:
        return dict(self.loaded.model.named_modules())

    @cached_property
    def layers(self) -> list[LayerWeights]:
        """The weights of every neuron layer, in the order in which the layers run.

        Raises NotApplicable, with the reason, if a norm of the model cannot be folded.
        """
        return [self.layer_weights(layer) for layer in self.anatomy.layout.per_token.layers]

    @property
    def raw_biases(self) -> Iterator[Tensor | None]:
        """The stored input bias of every neuron layer in turn, [unit]; None for a layer without one."""
        for layer in self.anatomy.layout.per_token.layers:
            bias = _rows_of(self.linear(layer.up[0].projection, layer.input_width), layer.up[0], layer.width).bias
            yield None if bias is None else _wide(bias)

    def linear(self, projection: Projection, width: int) -> LinearMap:
        """The matrix and bias of a projection that reads ``width`` features, computed once."""
        key = (projection, width)
        if key not in self._linear:
            self._linear[key] = projection_matrix(self.loaded.model, projection, width)
        return self._linear[key]

    def layer_weights(self, layer: NeuronLayer) -> LayerWeights:
        """The weights of one neuron layer. Raises NotApplicable if a norm cannot be folded."""
        if layer.obstacle:
            raise NotApplicable(f"layer {layer.number} cannot be folded: {layer.obstacle}")
        norm = self.norm(layer.norm, layer.input_width)
        reads = [
            _rows_of(self.linear(factor.projection, layer.input_width), factor, layer.width) for factor in layer.up
        ]
        write = projection_matrix(self.loaded.model, layer.down, layer.width).weight.T  # [unit, width]
        if layer.inner_norm:
            write = write * probe_norm(self._modules[layer.inner_norm], layer.width, self._like).gain[:, None]
        raw = reads[0].bias
        return LayerWeights(
            layer=layer.number,
            read=_wide(fold(reads[0].weight, norm)),
            gate=_wide(fold(reads[1].weight, norm)) if layer.gated else None,
            write=_wide(centred(write) if self.centres(layer) else write),
            bias=None if raw is None else _wide(fold_bias(raw, reads[0].weight, norm)),
        )

    @cached_property
    def stream_writes(self) -> list[Tensor | None]:
        """What one unit of every neuron adds to the stream that the last norm reads, [unit, width] by layer.

        It is the write vector, with the gain of the norm that a block applies to the output of its own neurons if there
        is one. None for a layer of another stack, such as an encoder's, or of another width. Raises NotApplicable.
        """
        layers = self.anatomy.layout.per_token.layers
        return [
            self._stream_write(layer, weights.write)
            if (layer.stack, layer.output_width) == (layers[-1].stack, self.anatomy.width)
            else None
            for layer, weights in zip(layers, self.layers, strict=True)
        ]

    def _stream_write(self, layer: NeuronLayer, write: Tensor) -> Tensor:
        norm = self.norm(self.own_norm(layer), layer.output_width)
        return write if norm is None else fold(write, replace(norm, centres=False))

    @cached_property
    def own_norms(self) -> frozenset[str]:
        """The norms that blocks apply to the output of their own neurons."""
        return frozenset(filter(None, map(self.own_norm, self.anatomy.layout.per_token.layers)))

    def own_norm(self, layer: NeuronLayer) -> str:
        """The norm that a block applies to the output of its own neurons, alone or with the stream; empty for none."""
        block = f"{layer.stack}.{layer.number}."
        own = [path for path in layer.reading_norms if path.startswith(block) and path != self.anatomy.final_norm]
        return own[0] if own else ""

    def norm(self, path: str, width: int) -> Norm | None:
        """The norm of ``width`` features at ``path``, or None for an empty path. Raises NotApplicable as probe_norm."""
        return probe_norm(self._modules[path], width, self._like) if path else None

    def centres(self, layer: NeuronLayer) -> bool:
        """Whether every reader of a layer's output subtracts its mean, so that it can be left out of the weights."""
        norms = [self.norm(path, layer.output_width) for path in layer.reading_norms if path]
        return (
            "" not in layer.reading_norms and bool(norms) and all(norm is not None and norm.centres for norm in norms)
        )

    @property
    def _like(self) -> Tensor:
        like: Tensor = next(p for p in self.loaded.model.parameters() if p.is_floating_point())
        return like

    @cached_property
    def unembedding(self) -> Tensor:
        """Ŵ_U, [token, width]: final norm folded in, centred over the width and over the vocabulary.

        Padding rows beyond the tokenizer's vocabulary are left out. Raises NotApplicable for a model without an
        unembedding that reads the last norm, such as an encoder without a head.
        """
        folded = fold(
            self.unembedding_weight.weight[: self.loaded.vocabulary],
            self.norm(self.anatomy.final_norm, self.anatomy.width),
        )
        return _wide(folded - folded.mean(dim=0, keepdim=True))

    @property
    def final_norm_centres(self) -> bool:
        """Whether the last norm subtracts the mean of the stream, so that a constant in it changes no logit."""
        norm = self.norm(self.anatomy.final_norm, self.anatomy.width)
        return norm is not None and norm.centres

    @property
    def unembedding_weight(self) -> LinearMap:
        """The stored W_U, [token, width], with its padding rows and its bias. Raises NotApplicable if there is none."""
        path = self.anatomy.unembedding
        if not path:
            raise NotApplicable(f"{type(self.loaded.model).__name__} has no unembedding behind its last norm")
        return self.linear(Projection(path, f"{path}.weight"), self.anatomy.width)

    @cached_property
    def embedding(self) -> Tensor:
        """The stored W_E, [token, width], without padding rows beyond the tokenizer's vocabulary.

        Raises NotApplicable for a model without an embedding, or with several.
        """
        weight = getattr(self.loaded.model.get_input_embeddings(), "weight", None)
        if weight is None:
            raise NotApplicable(f"{type(self.loaded.model).__name__} has no single table of embeddings")
        return _wide(weight.detach()[: self.loaded.vocabulary])


def _wide(weight: Tensor) -> Tensor:
    return weight if weight.dtype == torch.float64 else weight.float()


def _rows_of(linear: LinearMap, factor: ProjectionSlice, units: int) -> LinearMap:
    """The rows of a matrix that belong to the units, [unit, input]."""
    rows = factor.slice(units)
    return LinearMap(linear.weight[rows], None if linear.bias is None else linear.bias[rows])


def centred(weight: Tensor) -> Tensor:
    """Each row [..., width] without its mean, which a LayerNorm before or behind it makes invisible."""
    return weight - weight.mean(dim=-1, keepdim=True)


def fold(weight: Tensor, norm: Norm | None) -> Tensor:
    """Read vectors [unit, width] with the gain of their norm folded in, and centred if it centres."""
    if norm is None:
        return weight
    scaled = weight * norm.gain.to(weight.device)
    return centred(scaled) if norm.centres else scaled


def fold_bias(bias: Tensor, weight: Tensor, norm: Norm | None) -> Tensor:
    """A bias [unit] plus the product of the raw read vectors [unit, width] with the shift of their norm."""
    return bias if norm is None else bias + weight @ norm.shift.to(weight.device)

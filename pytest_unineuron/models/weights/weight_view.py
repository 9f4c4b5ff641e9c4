"""A model's weights as its neurons see them: one orientation, norms folded in, writes centred.

Weights are read by replaying a module on the identity matrix, so it does not matter how it stores them.
Folding follows the paper's appendix A.1: with norm gain γ and shift β, ŵ = γ⊙w (centred where the norm
centres), b̂ = b + w·β with the raw w, and what is written is centred where every reader centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.models.discovery.layout import Projection
from pytest_unineuron.models.discovery.matrix import LinearMap, projection_matrix
from pytest_unineuron.models.weights.norms import Norm, probe_norm

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.models.discovery.anatomy import Anatomy
    from pytest_unineuron.models.discovery.layout import NeuronLayer, ProjectionSlice
    from pytest_unineuron.models.loading.load import LoadedModel


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """The weights of one neuron layer, float32 at least.

    ``read`` and ``write`` are [unit, width] with norms folded and writes centred; ``gate`` is None for a plain
    layer, and for a gated one ``read`` belongs to the factor that the activation acts on. ``bias`` is [unit], with
    the norm's shift; None if the layer has no bias.
    """

    layer: int
    read: Tensor
    gate: Tensor | None
    write: Tensor
    bias: Tensor | None


class WeightView:
    """A loaded model read as units. Everything is computed when it is first asked for."""

    def __init__(self, loaded: LoadedModel, anatomy: Anatomy) -> None:
        self.loaded = loaded
        self.anatomy = anatomy
        self._modules = dict(loaded.model.named_modules())
        self._linear: dict[tuple[Projection, int], LinearMap] = {}

    @cached_property
    def layers(self) -> list[LayerWeights]:
        """The weights of every neuron layer, in the order in which the layers run.

        Raises NotApplicable, with the reason, for a model in which a norm cannot be folded into what reads it.
        """
        return [self.layer_weights(site) for site in self.anatomy.layout.per_token.layers]

    @property
    def raw_biases(self) -> list[Tensor | None]:
        """The input bias of every neuron layer as it is stored, [unit]; None where there is none."""
        found = []
        for site in self.anatomy.layout.per_token.layers:
            bias = _take(self.linear(site.up[0].projection, site.input_width), site.up[0], site.width).bias
            found.append(None if bias is None else _wide(bias))
        return found

    def linear(self, projection: Projection, width: int) -> LinearMap:
        """The matrix and bias of a projection that reads ``width`` features. Kept once computed."""
        key = (projection, width)
        if key not in self._linear:
            self._linear[key] = projection_matrix(self.loaded.model, projection, width)
        return self._linear[key]

    def layer_weights(self, site: NeuronLayer) -> LayerWeights:
        """The weights of one neuron layer. Raises NotApplicable where a norm cannot be folded in."""
        if site.obstacle:
            raise NotApplicable(f"layer {site.number} cannot be folded: {site.obstacle}")
        norm = self.norm(site.norm, site.input_width)
        reads = [_take(self.linear(rows.projection, site.input_width), rows, site.width) for rows in site.up]
        write = projection_matrix(self.loaded.model, site.down, site.width).weight.T  # [unit, width]
        if site.inner_norm:
            write = write * probe_norm(self._modules[site.inner_norm], site.width, self._like).gain[:, None]
        raw = reads[0].bias
        return LayerWeights(
            layer=site.number,
            read=_wide(fold(reads[0].weight, norm)),
            gate=_wide(fold(reads[1].weight, norm)) if site.gated else None,
            write=_wide(centred(write) if self.centres(site) else write),
            bias=None if raw is None else _wide(shifted_bias(raw, reads[0].weight, norm)),
        )

    def norm(self, path: str, width: int) -> Norm | None:
        """The norm of ``width`` features at ``path``, or None where nothing is normalised."""
        return probe_norm(self._modules[path], width, self._like) if path else None

    def centres(self, site: NeuronLayer) -> bool:
        """Whether all that reads what a layer writes subtracts its mean, so that it may be left out."""
        norms = [self.norm(path, site.output_width) for path in site.reading_norms if path]
        return "" not in site.reading_norms and bool(norms) and all(norm is not None and norm.centres for norm in norms)

    @property
    def _like(self) -> Tensor:
        like: Tensor = next(p for p in self.loaded.model.parameters() if p.is_floating_point())
        return like

    @cached_property
    def unembedding(self) -> Tensor:
        """Ŵ_U, [token, width]: final norm folded, centred over the width and over the vocabulary.

        Columns beyond the tokenizer's vocabulary are padding and are left out. Raises NotApplicable for a
        model without an unembedding that reads the last norm, such as a bare encoder.
        """
        folded = fold(
            self.unembedding_weight.weight[: self.loaded.vocabulary],
            self.norm(self.anatomy.final_norm, self.anatomy.width),
        )
        return _wide(folded - folded.mean(dim=0, keepdim=True))

    @property
    def unembedding_weight(self) -> LinearMap:
        """W_U as it is stored, [token, width], padding and all, and its bias."""
        path = self.anatomy.unembedding
        if not path:
            raise NotApplicable(f"{type(self.loaded.model).__name__} has no unembedding behind its last norm")
        return self.linear(Projection(path, f"{path}.weight"), self.anatomy.width)

    @cached_property
    def embedding(self) -> Tensor:
        """W_E, [token, width], raw, without the padding rows beyond the tokenizer's vocabulary.

        Raises NotApplicable for a model that has several tables, or none.
        """
        weight = getattr(self.loaded.model.get_input_embeddings(), "weight", None)
        if weight is None:
            raise NotApplicable(f"{type(self.loaded.model).__name__} has no single table of embeddings")
        return _wide(weight.detach()[: self.loaded.vocabulary])


def _wide(weight: Tensor) -> Tensor:
    return weight if weight.dtype == torch.float64 else weight.float()


def _take(linear: LinearMap, rows: ProjectionSlice, units: int) -> LinearMap:
    """The rows that belong to the units, [unit, input]."""
    chosen = rows.slice(units)
    return LinearMap(linear.weight[chosen], None if linear.bias is None else linear.bias[chosen])


def centred(weight: Tensor) -> Tensor:
    """Each row without its mean: what a LayerNorm that reads it, or reads what it wrote, cannot see."""
    return weight - weight.mean(dim=-1, keepdim=True)


def fold(weight: Tensor, norm: Norm | None) -> Tensor:
    """Read vectors [unit, width] with the gain of the norm in front folded in, and centred if it centres."""
    if norm is None:
        return weight
    scaled = weight * norm.gain
    return centred(scaled) if norm.centres else scaled


def shifted_bias(bias: Tensor, weight: Tensor, norm: Norm | None) -> Tensor:
    """The bias [unit] with what the shift of the norm in front adds, by the raw read vectors."""
    return bias if norm is None else bias + weight @ norm.shift

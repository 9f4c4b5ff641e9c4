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
from pytest_unineuron.models.norms import Norm, probe

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pytest_unineuron.models.anatomy import Anatomy
    from pytest_unineuron.models.load import Loaded
    from pytest_unineuron.models.neurons import Rows, Site

_ROWS = 4096
"""Rows of the identity that are replayed at once, to bound memory."""


@dataclass(frozen=True, eq=False)
class Linear:
    """``y = weight @ x + bias``; ``weight`` is [output, input]. ``bias`` is None if the module has none."""

    weight: Tensor
    bias: Tensor | None


def replay(module: nn.Module, width: int) -> Linear:
    """The matrix and the bias of a module that is linear in its input of ``width`` features."""
    like = next(module.parameters())
    with torch.no_grad():
        origin = module(torch.zeros(1, width, dtype=like.dtype, device=like.device))[0]  # [output]
        identity = torch.eye(width, dtype=like.dtype, device=like.device)
        columns = [module(part) - origin for part in identity.split(_ROWS)]
    biased = any(name.endswith("bias") for name, _ in module.named_parameters())
    return Linear(torch.cat(columns).T.contiguous(), origin if biased else None)


@dataclass(frozen=True, eq=False)
class SiteWeights:
    """The weights of one neuron layer, float32.

    ``read`` and ``write`` are [unit, width] with norms folded and writes centred; ``gate`` is None for a plain
    layer, and for a gated one ``read`` belongs to the factor that the activation acts on. ``bias`` and
    ``raw_bias`` are [unit], with and without the norm's shift; None if the layer has no bias.
    """

    layer: int
    read: Tensor
    gate: Tensor | None
    write: Tensor
    bias: Tensor | None
    raw_bias: Tensor | None


class View:
    """A loaded model read as units. Everything is computed when it is first asked for."""

    def __init__(self, loaded: Loaded, anatomy: Anatomy) -> None:
        self.loaded = loaded
        self.anatomy = anatomy
        self._modules = dict(loaded.model.named_modules())
        self._linear: dict[str, Linear] = {}

    @cached_property
    def sites(self) -> list[SiteWeights]:
        """The weights of every neuron layer, in the order in which the layers run."""
        return [self._site(site) for site in self.anatomy.plan.sites]

    def linear(self, path: str) -> Linear:
        """The matrix and bias of the module at ``path``, which reads the residual stream. Kept once computed."""
        if path not in self._linear:
            self._linear[path] = replay(self._modules[path], self.anatomy.width)
        return self._linear[path]

    def _site(self, site: Site) -> SiteWeights:
        norm = self.norm(site.norm)
        reads = [_take(self.linear(rows.module), rows, site.width) for rows in site.up]
        write = replay(self._modules[site.down], site.width).weight.T  # [unit, width]
        raw = reads[0].bias
        return SiteWeights(
            layer=site.layer,
            read=fold(reads[0].weight, norm).float(),
            gate=fold(reads[1].weight, norm).float() if site.gated else None,
            write=(centred(write) if norm is not None and norm.centres else write).float(),
            bias=None if raw is None else shifted(raw, reads[0].weight, norm).float(),
            raw_bias=None if raw is None else raw.float(),
        )

    def norm(self, path: str) -> Norm | None:
        """The norm at ``path``, or None where nothing is normalised."""
        return probe(self._modules[path], self.anatomy.width) if path else None

    @cached_property
    def unembedding(self) -> Tensor:
        """Ŵ_U, [token, width]: final norm folded, centred over the width and over the vocabulary.

        Columns beyond the tokenizer's vocabulary are padding and are left out. Raises NotApplicable for a
        model without an unembedding that reads the last norm, such as a bare encoder.
        """
        path = self.anatomy.unembedding
        if not path:
            raise NotApplicable(f"{type(self.loaded.model).__name__} has no unembedding behind its last norm")
        norm = self.norm(self.anatomy.final_norm)
        weight = self.linear(path).weight[: self.loaded.vocabulary]
        folded = fold(weight, norm)
        return (folded - folded.mean(dim=0, keepdim=True)).float()

    @cached_property
    def embedding(self) -> Tensor:
        """W_E, [token, width], raw, without the padding rows beyond the tokenizer's vocabulary."""
        weight: Tensor = self.loaded.model.get_input_embeddings().weight
        return weight.detach()[: self.loaded.vocabulary].float()


def _take(linear: Linear, rows: Rows, units: int) -> Linear:
    """The rows that belong to the units, [unit, input]."""
    chosen = slice(rows.offset, rows.offset + rows.stride * units, rows.stride)
    return Linear(linear.weight[chosen], None if linear.bias is None else linear.bias[chosen])


def centred(weight: Tensor) -> Tensor:
    """Each row without its mean: what a LayerNorm that reads it, or reads what it wrote, cannot see."""
    return weight - weight.mean(dim=-1, keepdim=True)


def fold(weight: Tensor, norm: Norm | None) -> Tensor:
    """Read vectors [unit, width] with the gain of the norm in front folded in, and centred if it centres."""
    if norm is None:
        return weight
    scaled = weight * norm.gain
    return centred(scaled) if norm.centres else scaled


def shifted(bias: Tensor, weight: Tensor, norm: Norm | None) -> Tensor:
    """The bias [unit] with what the shift of the norm in front adds, by the raw read vectors."""
    return bias if norm is None else bias + weight @ norm.shift

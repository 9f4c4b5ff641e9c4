"""What a norm does to what is read behind it, found by asking the norm itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import NotApplicable

if TYPE_CHECKING:
    from torch import Tensor, nn

_SCALE = 1e4
"""Inputs this large make the epsilon inside any norm vanish in float32."""


@dataclass(frozen=True, eq=False)
class Norm:
    """``gain * normal(x) + shift``, both [width]. ``centres`` is True for a LayerNorm, False for an RMSNorm.

    For a norm in name only, that leaves the length of its input as it is, ``normal(x)`` is x.
    """

    gain: Tensor
    shift: Tensor
    centres: bool

    def normal(self, normed: Tensor) -> Tensor:
        """What the norm returned, [..., width], before gain and shift; 0 where there is no gain."""
        return torch.where(self.gain == 0, 0.0, (normed - self.shift) / self.gain)


def probe_norm(norm: nn.Module, width: int, like: Tensor | None = None) -> Norm:
    """The gain, the shift and the kind of a norm, by what it does to a few inputs.

    Works for LayerNorm, RMSNorm and variants that store ``gain - 1``, without knowing which it is. Inputs are of the
    kind of its parameters, or ``like`` a tensor if it has none. Raises NotApplicable for a norm that is neither.
    """
    reference = next(norm.parameters(), torch.zeros(()) if like is None else like)
    signs = torch.ones(width, dtype=reference.dtype, device=reference.device)
    signs[1::2] = -1
    noise = torch.randn(4, width, generator=torch.Generator().manual_seed(0)).to(signs)
    with torch.no_grad():
        shift = _ask(norm, torch.zeros_like(signs)[None])[0]
        answer, answers = _ask(norm, _SCALE * signs[None])[0], _ask(norm, _SCALE * (noise + 1))
        found = []
        for normal, centres in ((_layer, True), (_rms, False), (_nothing, False)):
            gain = (answer - shift) / normal(_SCALE * signs[None])[0]
            error = (gain * normal(_SCALE * (noise + 1)) + shift - answers).abs().max()
            found.append((float(error), Norm(gain.detach(), shift.detach(), centres)))
    least, best = min(found, key=lambda pair: pair[0])
    limit = 1e-3 if signs.dtype in (torch.float32, torch.float64) else 5e-2
    if not least <= limit * float(answers.abs().max()):
        raise NotApplicable(f"{type(norm).__name__} is neither a LayerNorm nor an RMSNorm; it cannot be folded")
    return best


def _ask(norm: nn.Module, x: Tensor) -> Tensor:
    """What a norm makes of [row, width], also if it wants features on the axis before the last."""
    try:
        answer: Tensor = norm(x)
    except (RuntimeError, ValueError, TypeError, IndexError):
        try:
            answer = norm(x.T[None])[0].T
        except Exception as error:  # whatever else a module that calls itself a norm may want
            raise NotApplicable(f"{type(norm).__name__} does not take one vector; it cannot be folded") from error
    return answer


def _layer(x: Tensor) -> Tensor:
    return _rms(x - x.mean(dim=-1, keepdim=True))


def _rms(x: Tensor) -> Tensor:
    return x / x.pow(2).mean(dim=-1, keepdim=True).sqrt()


def _nothing(x: Tensor) -> Tensor:
    return x

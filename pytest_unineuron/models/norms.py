"""What a norm does to what is read behind it, found by asking the norm itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

_SCALE = 1e4
"""Inputs this large make the epsilon inside any norm vanish in float32."""


@dataclass(frozen=True, eq=False)
class Norm:
    """``gain`` and ``shift`` are [width]; ``centres`` is True for a LayerNorm, False for an RMSNorm."""

    gain: Tensor
    shift: Tensor
    centres: bool


def probe(norm: nn.Module, width: int) -> Norm:
    """The gain, the shift and the kind of a norm, by what it does to three inputs.

    Works for LayerNorm, RMSNorm and variants that store ``gain - 1``, without knowing which it is: a vector
    of ±1 with mean zero is its own normal form, so the output is ``gain * vector + shift``.
    """
    reference = next(norm.parameters(), torch.zeros(()))
    signs = torch.ones(width, dtype=reference.dtype, device=reference.device)
    signs[1::2] = -1
    odd = width % 2
    with torch.no_grad():
        shift = norm(torch.zeros_like(signs)[None])[0]
        plus = norm(_SCALE * signs[None])[0]
        lifted = norm(_SCALE * (signs + 3)[None])[0]
        gain = (plus - shift) / signs
        if odd:  # the mean of the signs is 1/width: undo what a LayerNorm makes of it
            centred = signs - signs.mean()
            normal = centred / centred.pow(2).mean().sqrt()
            gain = (plus - shift) / normal if torch.allclose(plus, lifted, atol=1e-3) else gain
    return Norm(gain.detach(), shift.detach(), centres=bool(torch.allclose(plus, lifted, atol=1e-3)))

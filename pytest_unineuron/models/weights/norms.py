"""The gain and the shift of a norm, found by applying it to a few inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import NotApplicable

if TYPE_CHECKING:
    from torch import Tensor, nn

_SCALE = 1e4
"""The size of the inputs: so large that the epsilon inside any norm vanishes in float32."""


@dataclass(frozen=True, eq=False)
class Norm:
    """``gain * normal_form(x) + shift``; both are [width]. ``centres`` is True for LayerNorm and False for RMSNorm.

    The normal form has a mean square of 1 and, for LayerNorm, a mean of 0. For a module that is a norm in name only,
    it is x itself.
    """

    gain: Tensor
    shift: Tensor
    centres: bool

    def normal_form(self, output: Tensor) -> Tensor:
        """The output of the norm, [..., width], without gain and shift; 0 where the gain is 0."""
        return torch.where(self.gain == 0, 0.0, (output - self.shift) / self.gain)


def probe_norm(norm: nn.Module, width: int, like: Tensor | None = None) -> Norm:
    """The gain, the shift and the kind of a norm of ``width`` features: LayerNorm, RMSNorm, or a norm in name only.

    Works for any way of storing the gain, such as ``gain - 1``. Inputs have the type of the norm's parameters, or of
    ``like``, a tensor of any shape, if it has none. Raises NotApplicable for a module that is of none of these kinds.
    """
    reference = next(norm.parameters(), torch.zeros(()) if like is None else like)
    signs = torch.ones(width, dtype=reference.dtype, device=reference.device)
    signs[1::2] = -1
    noise = torch.randn(4, width, generator=torch.Generator().manual_seed(0)).to(signs)
    with torch.no_grad():
        shift = _apply_norm(norm, torch.zeros_like(signs)[None])[0]
        output, outputs = _apply_norm(norm, _SCALE * signs[None])[0], _apply_norm(norm, _SCALE * (noise + 1))
        found = []
        for normal_form, centres in ((_layer_norm, True), (_rms_norm, False), (_identity, False)):
            gain = (output - shift) / normal_form(_SCALE * signs[None])[0].to(signs)
            error = (gain * normal_form(_SCALE * (noise + 1)).to(signs) + shift - outputs).abs().max()
            found.append((float(error), Norm(gain.detach(), shift.detach(), centres)))
    least, best = min(found, key=lambda pair: pair[0])
    tolerance = 1e-3 if signs.dtype in (torch.float32, torch.float64) else 5e-2
    if not least <= tolerance * float(outputs.abs().max()):
        raise NotApplicable(f"{type(norm).__name__} is neither a LayerNorm nor an RMSNorm; it cannot be folded")
    return best


def _apply_norm(norm: nn.Module, x: Tensor) -> Tensor:
    """The output of a norm for x [row, width], also of one that wants features on the axis before the last."""
    try:
        y: Tensor = norm(x)
    except (RuntimeError, ValueError, TypeError, IndexError):
        try:
            y = norm(x.T[None])[0].T
        except Exception as error:  # modules that are called norms may want anything
            raise NotApplicable(f"{type(norm).__name__} does not take one vector; it cannot be folded") from error
    return y


def _layer_norm(x: Tensor) -> Tensor:
    return _rms_norm(x.double() - x.double().mean(dim=-1, keepdim=True))


def _rms_norm(x: Tensor) -> Tensor:
    x = x.double()  # squares of inputs of this size are not float16
    return x / x.pow(2).mean(dim=-1, keepdim=True).sqrt()


def _identity(x: Tensor) -> Tensor:
    return x

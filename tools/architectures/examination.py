"""The result of examining one architecture. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

VARIANTS = ("default", "equal", "wide-heads", "bfloat16", "grouped_mm", "batched_mm")
"""Variants of the tiny models: all widths different; MLPs as wide as the residual stream and the heads; heads twice as
wide as the stream; half precision; and two kernels for experts that are not the default."""

COMPLETE, PARTIAL, NO_MLP, FAILED, NOT_BUILT = "complete", "partial", "no MLP neurons", "failed", "not built"
OUTCOMES = (COMPLETE, PARTIAL, NO_MLP, FAILED, NOT_BUILT)
INCOMPLETE = (PARTIAL, FAILED)


@dataclass
class Examination:
    """The neurons that were found in one architecture, and whether they are right.

    ``missing`` and ``extra`` are output projections, in comparison with those that widths identify (``truth.py``).
    ``verified`` holds the number of layers and the largest error of every identity. ``folded`` is the largest change
    of a log-probability by folding norms into weights, relative to the largest log-probability. ``same_recorded`` is
    whether the model returns the same bits while its projections are recorded, and ``same_stopped`` whether a forward
    pass that stops after the last activation shows the same bits as a complete one.
    """

    mapping: str
    model_type: str
    outcome: str = NOT_BUILT
    reason: str = ""
    layers: int = 0
    neurons: int = 0
    experts: bool = False
    gated: bool = False
    gate_layouts: list[str] = field(default_factory=list)
    activations: list[str] = field(default_factory=list)
    projections: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    verified: dict[str, Any] = field(default_factory=dict)
    folded: float | None = None
    obstacle: str = ""
    heads: int = 0
    unembedding: bool = False
    same_recorded: bool | None = None
    same_stopped: bool | None = None
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        return asdict(self)

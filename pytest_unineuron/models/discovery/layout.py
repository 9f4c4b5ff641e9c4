"""Where the neurons of a model are: a frozen, printable list, in which models of one configuration agree."""

from __future__ import annotations

from dataclasses import dataclass, replace

PLAIN, SEPARATE, FUSED, INTERLEAVED = "plain", "gate and up", "fused gate, up", "interleaved gate, up"
"""Layouts of what a unit reads: one projection, two, or two halves or alternate rows of one."""


TOKENS, PADDED, SEQUENCE_FIRST, POOLED = "tokens", "tokens and padding", "tokens, sequence first", "not tokens"
"""What the rows of a layer's activations are: the tokens of one text after the other, the same with more rows after
those of each text, the first tokens of all texts before the second ones, or something else, such as pooled or
latent positions."""


@dataclass(frozen=True)
class Projection:
    """A product with a parameter: ``y = W x + b``.

    ``module`` runs it, ``parameter`` is multiplied by, of which it takes part number ``part`` of ``parts``
    (experts in one tensor); ``bias`` is added to it, by a function of its own if ``bias_after``. ``whole`` says
    that the module does nothing else, so that its input and output are those of the product. ``transposed``
    says that a parameter that is no module's is stored as [input, output]; ``channels_first`` that features lie
    on the axis before the last.
    """

    module: str
    parameter: str
    part: int = 0
    parts: int = 1
    bias: str = ""
    bias_after: bool = False
    whole: bool = True
    transposed: bool = False
    channels_first: bool = False

    @property
    def path(self) -> str:
        """The module, or the parameter where it is not all that the module multiplies by."""
        return self.module if self.whole else self.parameter


@dataclass(frozen=True)
class ProjectionSlice:
    """Which outputs of a projection the units read: unit j reads row ``stride * j + offset``.

    ``call`` counts how often the projection ran before in the pass; ``also`` is added, as by an adapter, each
    ``scale`` times.
    """

    projection: Projection
    stride: int = 1
    offset: int = 0
    call: int = 0
    summands: tuple[ProjectionSlice, ...] = ()
    scale: float = 1.0

    @property
    def terms(self) -> tuple[ProjectionSlice, ...]:
        """These and what is added to them."""
        return (self, *self.summands)

    def slice(self, units: int) -> slice:
        """The rows of so many units."""
        return slice(self.offset, self.offset + self.stride * units, self.stride)


@dataclass(frozen=True)
class NeuronLayer:
    """One neuron layer: ``width`` units that the projection ``down`` reads.

    They are made of ``reads`` features, and ``writes`` features are made of them.
    ``up`` has the pre-activation first; a gated layer has the other factor second. ``norm`` is the module whose
    output the layer reads, or empty; ``obstacle`` says why none can be folded; ``inner_norm`` is one between the
    units and ``down``. ``readers`` are norms that read what the layer writes, one of each class, and an empty name
    if anything else does. ``activation`` is its name in transformers, or empty if none reproduces it. ``call``
    counts how often the same weights were used before in one pass, ``expert`` is the number of an expert or None,
    and ``scaled`` says that units carry their token's routing weight. ``rows`` says what the rows of its activations
    are, one of the words above.
    """

    stack: str
    number: int
    width: int
    input_width: int
    output_width: int
    down: Projection
    up: tuple[ProjectionSlice, ...]
    norm: str = ""
    obstacle: str = ""
    activation: str = ""
    call: int = 0
    expert: int | None = None
    inner_norm: str = ""
    reading_norms: tuple[str, ...] = ()
    routing_weighted: bool = False
    row_kind: str = TOKENS

    @property
    def gated(self) -> bool:
        """Whether a unit is a product of two factors."""
        return len(self.up) == 2

    @property
    def gate_layout(self) -> str:
        """How what the units read is laid out: one of the words above."""
        if not self.gated:
            return PLAIN
        first, second = self.up
        if first.projection != second.projection:
            return SEPARATE
        return FUSED if first.stride == 1 else INTERLEAVED

    def __str__(self) -> str:
        kind = f"gated by {self.activation or '?'}" if self.gated else self.activation or "?"
        of = "" if self.expert is None else f" of expert {self.expert}"
        again = f" (call {self.call + 1})" if self.call else ""
        return (
            f"layer {self.number}: {self.width} neurons{of} ({kind}) into {self.down.path}{again}, "
            f"reading {self.norm or 'no norm'}"
        )


@dataclass(frozen=True)
class StreamLocation:
    """The residual stream after half of the blocks, ``width`` features wide: of all of them, where there are several.

    The module ``reader`` is given it when it has run ``call`` times before in the pass, as the ``argument`` of that
    number or name. ``reader`` is empty where no module is: then it is only found among what the model returns.
    """

    width: int
    reader: str = ""
    call: int = 0
    argument: str = ""


@dataclass(frozen=True)
class NeuronLayout:
    """What to watch while a model runs: every neuron layer, in the order in which they run, and the ``stream``."""

    layers: tuple[NeuronLayer, ...]
    stream: StreamLocation | None = None

    @property
    def n_neurons(self) -> int:
        """How many neurons there are in all."""
        return sum(site.width for site in self.layers)

    @property
    def layer_numbers(self) -> list[int]:
        """The layer of each site, counted on over stacks: a decoder's first layer follows the encoder's last."""
        start: dict[str, int] = {}
        for site in self.layers:
            if site.stack not in start:
                start[site.stack] = 1 + max(
                    (start[s.stack] + s.number for s in self.layers if s.stack in start), default=-1
                )
        return [start[site.stack] + site.number for site in self.layers]

    @property
    def per_token(self) -> NeuronLayout:
        """The sites whose activations belong to tokens."""
        return replace(self, layers=tuple(site for site in self.layers if site.row_kind != POOLED))

    def __str__(self) -> str:
        return "\n".join(str(site) for site in self.layers)

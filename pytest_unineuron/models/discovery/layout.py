"""Where the neurons of a model are: frozen, printable, and the same for all models of one configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    CallReceiver = Callable[["ProjectionCall", Tensor, Tensor | None, Tensor | None], None]
    """Called with a call, its input and output [..., feature], and the number of the token of each row. The output is
    None where only the input was asked for, the numbers are None where the rows are all tokens in order."""

TOKENS, PADDED, SEQUENCE_FIRST, POOLED = "tokens", "tokens and padding", "tokens, sequence first", "not tokens"
"""The kinds of rows that activations have: all tokens, text after text; the same with padding behind each text; the
first tokens of all texts, then the second ones; or positions that are not tokens, such as pooled or latent ones."""


@dataclass(frozen=True)
class Projection:
    """A product with a parameter, ``y = W x + b``.

    ``module`` runs it and ``parameter`` is the name of W. Where experts share one tensor, W is its part number
    ``part`` of ``parts``. ``bias`` is the name of b, which is added by another function if ``bias_after``. ``whole``
    says that the module does nothing else, so that its input and output are x and y. ``transposed`` says that W is
    stored as [input, output], ``channels_first`` that features lie on the axis before the last.
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
        """The module, or the parameter if the module does more than this product."""
        return self.module if self.whole else self.parameter


class ProjectionCall(NamedTuple):
    """The run of a projection that ran ``call`` times before in the same pass."""

    projection: Projection
    call: int = 0


@dataclass(frozen=True)
class ProjectionSlice:
    """The outputs of a projection that the units of a layer read: unit j reads output ``stride * j + offset``.

    ``call`` is how often the projection ran before in the same pass. ``summands``, such as an adapter, are added to
    the outputs, each multiplied by its ``scale``.
    """

    projection: Projection
    stride: int = 1
    offset: int = 0
    call: int = 0
    summands: tuple[ProjectionSlice, ...] = ()
    scale: float = 1.0

    @property
    def terms(self) -> tuple[ProjectionSlice, ...]:
        """This slice and its summands."""
        return (self, *self.summands)

    def slice(self, units: int) -> slice:
        """The indices of the outputs that the first ``units`` units read."""
        return slice(self.offset, self.offset + self.stride * units, self.stride)


@dataclass(frozen=True)
class NeuronLayer:
    """One layer of neurons: ``width`` units that the projection ``down`` reads. Each expert is a layer of its own.

    The layer is number ``number`` of its ``stack`` (the module list of its blocks), and expert number ``expert`` if
    it is one. It reads ``input_width`` features and writes ``output_width``. ``up`` has the pre-activation first and,
    for a gated layer, the other factor second. ``activation`` is the name of the activation function in transformers,
    empty if none fits. ``norm`` is the module whose output is read, empty if there is none; ``obstacle`` is the reason
    why no norm can be folded into the weights. ``inner_norm`` is a norm between the units and ``down``.
    ``reading_norms`` are norms that read what the layer writes, one of each class, with an empty name for any reader
    that is no norm. ``call`` is how often the same weights were used before in one pass. ``routing_weighted`` says
    that units are multiplied by the routing weight of their token. ``row_kind`` is the kind of rows that activations
    have.
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
    """Where the residual stream after half of the blocks can be read while a model runs; it has ``width`` features.

    It is the argument ``argument`` (a position or a name) of the module ``reader``, when that has run ``call`` times
    before in the same pass. ``reader`` is empty if no module is given the stream, so that it can only be read from the
    output of the model. The width is that of all streams together in a model that has several.
    """

    width: int
    reader: str = ""
    call: int = 0
    argument: str = ""


@dataclass(frozen=True)
class NeuronLayout:
    """All neuron layers of a model in the order in which they run, and the location of the residual stream."""

    layers: tuple[NeuronLayer, ...]
    stream: StreamLocation | None = None

    @property
    def n_neurons(self) -> int:
        """The number of neurons of all layers."""
        return sum(layer.width for layer in self.layers)

    @property
    def layer_numbers(self) -> list[int]:
        """The number of each layer, counted on over stacks: a decoder's first layer follows the encoder's last."""
        sizes: dict[str, int] = {}  # in the order in which the stacks begin
        for layer in self.layers:
            sizes[layer.stack] = max(sizes.get(layer.stack, 0), layer.number + 1)
        start = dict(zip(sizes, accumulate(sizes.values(), initial=0), strict=False))
        return [start[layer.stack] + layer.number for layer in self.layers]

    def place_of(self, neuron: int) -> tuple[int, int]:
        """The place of a neuron: that of its layer in ``layers``, and its number there. Raises IndexError."""
        for index, layer in enumerate(self.layers):
            if neuron < layer.width:
                return index, neuron
            neuron -= layer.width
        raise IndexError(f"there is no neuron {neuron + self.n_neurons}")

    @property
    def per_token(self) -> NeuronLayout:
        """The layout without the layers whose activations do not belong to tokens."""
        return replace(self, layers=tuple(layer for layer in self.layers if layer.row_kind != POOLED))

    def __str__(self) -> str:
        return "\n".join(str(layer) for layer in self.layers)

"""Captures the activations of a model's neurons, and its residual stream, while the model runs."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pytest_unineuron.models.discovery.layout import ProjectionCall
from pytest_unineuron.models.discovery.projection_calls import StopForward, record_projections, units_by_token
from pytest_unineuron.models.discovery.residual_stream import stream_argument, stream_rows
from pytest_unineuron.models.loading.forward import middle_stream, run_model
from pytest_unineuron.statistics import POST, PRE, RESIDUAL, UP
from pytest_unineuron.statistics.gemm import fast_linear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from torch import Tensor, nn

    from pytest_unineuron.models.discovery.layout import NeuronLayer, NeuronLayout
    from pytest_unineuron.models.discovery.projection_calls import ArgumentReader

    Receiver = Callable[[str, int, Tensor, Tensor | None], None]
    """Called with a site, the number of the layer in the layout, the activations [token, unit], and the number of
    each row's token in the batch; None where the rows are all tokens in order."""


class Capture:
    """Hands the activations of every neuron layer of a layout to ``receive``, one forward pass after the other.

    With ``stream`` the residual stream after half of the blocks is handed over too. ``reads`` are paths of further
    modules, each with a function that is called with the module's first argument.

    The pre-activation of a gated neuron is that of the gate, the factor that the activation function acts on; its
    post-activation is the product, which the output projection reads; the other factor is handed over at the site
    UP. An expert's neuron is only seen at the tokens that were routed to it.
    """

    def __init__(
        self,
        model: nn.Module,
        layout: NeuronLayout,
        receive: Receiver,
        *,
        stream: bool = True,
        reads: Sequence[tuple[str, Callable[[Any], None]]] = (),
    ) -> None:
        self.model = model
        self._layout = layout
        self._receive = receive
        self._shape: tuple[int, int] | torch.Size = (0, 0)
        self._summands: dict[ProjectionCall, Tensor] = {}
        self._downs: dict[ProjectionCall, list[int]] = {}
        self._ups: dict[ProjectionCall, list[tuple[int, int]]] = {}
        for index, layer in enumerate(layout.layers):
            self._downs.setdefault(ProjectionCall(layer.down, layer.call), []).append(index)
            for factor, rows in enumerate(layer.up):
                for term in rows.terms:
                    self._ups.setdefault(ProjectionCall(term.projection, term.call), []).append((index, factor))
        summed = [term for layer in layout.layers for factor in layer.up for term in factor.terms if factor.summands]
        self._summed = {ProjectionCall(term.projection, term.call) for term in summed}
        self._stream = layout.stream if stream else None
        self._reads: list[tuple[str, ArgumentReader]] = [(path, _first_argument(read)) for path, read in reads]
        # A stream that no module is given can only be read from what the model returns.
        self._complete_forward = self._stream is not None and not self._stream.reader
        self._stream_reads = 0

    @contextmanager
    def open(self) -> Iterator[Capture]:
        """Record the model while open."""
        inputs = self._downs.keys() - self._ups.keys() - self._summed
        # Held by self, a bound method would keep self and everything it handed over until garbage is collected.
        stream_read = [(self._stream.reader, self._read_stream)] if self._stream and self._stream.reader else []
        recording = record_projections(
            self.model,
            self._layout,
            self._take,
            inputs=inputs,
            reads=[*self._reads, *stream_read],
            stop=not self._complete_forward,
        )
        with fast_linear(self.model), recording:
            yield self

    def forward(self, ids: Tensor, attention_mask: Tensor) -> None:
        """Run the model on token ids [row, position], as far as anything is wanted of it: the head is never run."""
        self._shape = ids.shape
        self._stream_reads = 0
        self._summands.clear()
        with suppress(StopForward):
            output = run_model(self.model, ids, attention_mask, states=self._complete_forward)
            if self._complete_forward:
                self._take_stream(middle_stream(output))

    def _read_stream(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Take the stream from the arguments of the module that reads it, at the call where it does."""
        assert self._stream is not None
        self._stream_reads += 1
        if self._stream_reads != self._stream.call + 1:
            return False
        self._take_stream(stream_argument(self._stream, args, kwargs))
        return True

    def _take_stream(self, stream: Tensor | None) -> None:
        if stream is not None and stream.shape[:2] == self._shape:
            self._receive(RESIDUAL, 0, stream_rows(stream), None)

    def _take(self, call: ProjectionCall, x: Tensor, y: Tensor | None, tokens: Tensor | None) -> None:
        """Hand over the activations that the input ``x`` or the output ``y`` of a projection holds."""
        if call in self._summed:
            assert y is not None
            self._summands[call] = y.clone()
        for index, factor in self._ups.get(call, ()):
            assert y is not None
            layer = self._layout.layers[index]
            if (units := self._factor(layer, factor, y)) is not None:
                self._hand_over((PRE, UP)[factor], index, units, tokens, x)
        for index in self._downs.get(call, ()):
            self._hand_over(POST, index, x, tokens, x)

    def _factor(self, layer: NeuronLayer, factor: int, y: Tensor) -> Tensor | None:
        """A factor of the units of a layer; None until all projections that are summed for it have run."""
        rows = layer.up[factor]
        if not rows.summands:
            return y[..., rows.slice(layer.width)]
        summands = [self._summands.get(ProjectionCall(term.projection, term.call)) for term in rows.terms]
        found = [
            term.scale * summand[..., term.slice(layer.width)]
            for term, summand in zip(rows.terms, summands, strict=True)
            if summand is not None
        ]
        return sum(found[1:], found[0]) if len(found) == len(summands) else None

    def _hand_over(self, site: str, index: int, units: Tensor, tokens: Tensor | None, x: Tensor) -> None:
        layer = self._layout.layers[index]
        units, tokens = units_by_token(layer, units, tokens, self._shape)
        if layer.expert is not None and tokens is None and layer.down.parts > 1:
            routed = x.reshape(-1, x.shape[-1]).any(dim=1)  # some models give an expert zeros for others' tokens
            if not bool(routed.all()):
                units, tokens = units[routed], routed.nonzero().flatten()
        self._receive(site, index, units, tokens)


@contextmanager
def capture_activations(model: nn.Module, layout: NeuronLayout, receive: Receiver, **options: Any) -> Iterator[Capture]:
    """While open, every pass that is made with the capture's ``forward`` hands activations to ``receive``.

    ``options`` are those of Capture.
    """
    with Capture(model, layout, receive, **options).open() as capture:
        yield capture


def _first_argument(read: Callable[[Any], None]) -> ArgumentReader:
    """A reader that calls ``read`` with the first argument, whenever a module runs."""

    def read_first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        read(args[0])
        return True

    return read_first

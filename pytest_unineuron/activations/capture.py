"""Catching what the neurons do while a model runs."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pytest_unineuron.models.discovery.projection_calls import (
    ProjectionCall,
    StopForward,
    record_projections,
    units_by_token,
)
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
    """Called with a site, the number of the layer in the layout, the activations [token, unit], and the number of each
    row's token in the batch, row after row; None where the rows are all tokens in order."""


class Capture:
    """Hands the activations of every neuron layer of a layout to ``receive``, one forward pass after the other.

    With ``stream`` it is handed the residual stream after half of the blocks too. ``reads`` are modules, by path, and
    what is told of the first argument that they are given.

    The pre-activation of a gated neuron is that of the factor the activation function acts on, the gate; its
    post-activation is the product, which is what the output projection reads; the other factor is handed over at
    the site UP. An expert's neuron is only seen at the tokens that were routed to it.
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
        self._parts: dict[ProjectionCall, Tensor] = {}
        self._downs: dict[ProjectionCall, list[int]] = {}
        self._ups: dict[ProjectionCall, list[tuple[int, int]]] = {}
        for index, layer in enumerate(layout.layers):
            self._downs.setdefault(ProjectionCall(layer.down, layer.call), []).append(index)
            for factor, rows in enumerate(layer.up):
                for part in rows.terms:
                    self._ups.setdefault(ProjectionCall(part.projection, part.call), []).append((index, factor))
        summed = [rows for layer in layout.layers for factor in layer.up for rows in factor.terms if factor.summands]
        self._summed = {ProjectionCall(rows.projection, rows.call) for rows in summed}
        self._stream = layout.stream if stream else None
        self._reads: list[tuple[str, ArgumentReader]] = [(path, _first(read)) for path, read in reads]
        # Where no module is given the stream, a pass has to end for it to be told.
        self._to_its_end = self._stream is not None and not self._stream.reader
        self._calls = 0

    @contextmanager
    def open(self) -> Iterator[Capture]:
        """While open, the model is watched."""
        inputs = self._downs.keys() - self._ups.keys() - self._summed
        # Kept in self, this would keep self and all that it handed over until garbage is collected.
        of_stream = [(self._stream.reader, self._read_stream)] if self._stream and self._stream.reader else []
        watching = record_projections(
            self.model,
            self._layout,
            self._take,
            inputs=inputs,
            reads=[*self._reads, *of_stream],
            stop=not self._to_its_end,
        )
        with fast_linear(self.model), watching:
            yield self

    def forward(self, ids: Tensor, attended: Tensor) -> None:
        """One pass, as far as anything is wanted of it: neither the unembedding nor what leads to it is computed."""
        self._shape = ids.shape
        self._calls = 0
        self._parts.clear()
        with suppress(StopForward):
            output = run_model(self.model, ids, attended, states=self._to_its_end)
            if self._to_its_end:
                self._take_stream(middle_stream(output))

    def _read_stream(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        assert self._stream is not None
        self._calls += 1
        if self._calls != self._stream.call + 1:
            return False
        self._take_stream(stream_argument(self._stream, args, kwargs))
        return True

    def _take_stream(self, stream: Tensor | None) -> None:
        if stream is not None and stream.shape[:2] == self._shape:
            self._receive(RESIDUAL, 0, stream_rows(stream), None)

    def _take(self, use: ProjectionCall, x: Tensor, y: Tensor | None, tokens: Tensor | None) -> None:
        if use in self._summed:
            assert y is not None
            self._parts[use] = y.clone()
        for index, factor in self._ups.get(use, ()):
            assert y is not None
            layer = self._layout.layers[index]
            if (units := self._factor(layer, factor, y)) is not None:
                self._hand_over((PRE, UP)[factor], index, layer, units, tokens, x)
        for index in self._downs.get(use, ()):
            self._hand_over(POST, index, self._layout.layers[index], x, tokens, x)

    def _factor(self, layer: NeuronLayer, factor: int, y: Tensor) -> Tensor | None:
        """A factor of the units of a site, once all that is added to it has run."""
        rows = layer.up[factor]
        if not rows.summands:
            return y[..., rows.slice(layer.width)]
        parts = [self._parts.get(ProjectionCall(part.projection, part.call)) for part in rows.terms]
        found = [
            r.scale * part[..., r.slice(layer.width)]
            for r, part in zip(rows.terms, parts, strict=True)
            if part is not None
        ]
        return sum(found[1:], found[0]) if len(found) == len(parts) else None

    def _hand_over(
        self, where: str, index: int, layer: NeuronLayer, units: Tensor, tokens: Tensor | None, x: Tensor
    ) -> None:
        units, tokens = units_by_token(layer, units, tokens, self._shape)
        if layer.expert is not None and tokens is None and layer.down.parts > 1:
            reached = x.reshape(-1, x.shape[-1]).any(dim=1)  # some models give an expert zeros for others' tokens
            if not bool(reached.all()):
                units, tokens = units[reached], reached.nonzero().flatten()
        self._receive(where, index, units, tokens)


@contextmanager
def caught(model: nn.Module, layout: NeuronLayout, receive: Receiver, **more: Any) -> Iterator[Capture]:
    """While open, every pass made with the capture's ``forward`` hands activations to ``receive``."""
    with Capture(model, layout, receive, **more).open() as capture:
        yield capture


def _first(read: Callable[[Any], None]) -> ArgumentReader:
    """Tells of the first argument, whenever a module runs."""

    def told(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        read(args[0])
        return True

    return told

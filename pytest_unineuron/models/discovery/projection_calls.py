"""The inputs and outputs of a model's projections while it runs, and the tokens that they belong to.

A projection that is a whole module is recorded by hooks. Others, such as experts that share one tensor, are recorded
as torch functions.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_unineuron.errors import ModelError, NeuronsNotFound
from pytest_unineuron.models.discovery.function_recorder import FunctionRecorder
from pytest_unineuron.models.discovery.layout import (
    POOLED,
    SEQUENCE_FIRST,
    NeuronLayer,
    NeuronLayout,
    Projection,
    ProjectionCall,
)
from pytest_unineuron.models.discovery.parameters import eager_experts
from pytest_unineuron.models.loading.forward import without_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence, Set

    import torch
    from torch import Tensor, nn
    from torch.utils.hooks import RemovableHandle

    from pytest_unineuron.models.discovery.layout import CallReceiver

    ArgumentReader = Callable[[tuple[Any, ...], dict[str, Any]], bool]
    """Called with the arguments of a module, by position and by name; returns whether no later call is needed."""


class StopForward(Exception):  # noqa: N818 - nothing is wrong
    """Ends a forward pass early, once everything that is wanted has been recorded."""


def projection_calls(layout: NeuronLayout) -> list[ProjectionCall]:
    """Every run of every projection that the layers of a layout read or write with."""
    found = []
    for layer in layout.layers:
        found.append(ProjectionCall(layer.down, layer.call))
        found += [ProjectionCall(term.projection, term.call) for factor in layer.up for term in factor.terms]
    return list(dict.fromkeys(found))


def units_by_token(
    layer: NeuronLayer, units: Tensor, tokens: Tensor | None, shape: tuple[int, int] | torch.Size
) -> tuple[Tensor, Tensor | None]:
    """The units of a layer as [token, unit], and the number of the token of each row.

    ``shape`` is that of the batch, [row, position]. The numbers are None where the rows are all tokens in order. Raises
    ModelError where the number of rows is not the number of tokens.
    """
    if tokens is not None:
        return units.reshape(-1, units.shape[-1]), tokens
    if layer.row_kind == SEQUENCE_FIRST and units.dim() == 3:
        units = units.transpose(0, 1)
    if units.dim() == 3 and units.shape[0] == shape[0] and units.shape[1] > shape[1]:
        units = units[:, : shape[1]]  # without the padding to a round number of positions
    flat = units.reshape(-1, units.shape[-1])
    if len(flat) != shape[0] * shape[1] and layer.row_kind != POOLED:
        raise ModelError(f"{layer}: {len(flat)} rows cannot be assigned to {shape[0] * shape[1]} tokens")
    return flat, None


@contextmanager
def record_projections(
    model: nn.Module,
    layout: NeuronLayout,
    receive: CallReceiver,
    *,
    inputs: Set[ProjectionCall] = frozenset(),
    reads: Sequence[tuple[str, ArgumentReader]] = (),
    stop: bool = False,
) -> Iterator[None]:
    """While open, a forward pass hands the input and output of every projection of a layout to ``receive``.

    Of the calls in ``inputs`` only the input is handed over, before they run if they are modules. ``reads`` are paths
    of further modules, each with a function that is called with their arguments. With ``stop``, a pass ends with
    StopForward once all of this was handed over. Without, a model returns the same bits as ever, except that experts
    run one after the other whatever kernel is configured. Raises NeuronsNotFound if the model lacks a module of the
    layout.
    """
    recording = _Recording(model, layout, receive, inputs, reads, stop=stop)
    with recording.attached():
        yield


class _Delivery:
    """Hands records over to ``receive``; with ``stop``, ends the pass once nothing more is expected."""

    def __init__(self, receive: CallReceiver, expected: Set[ProjectionCall | int], *, stop: bool) -> None:
        self._receive, self._expected, self._stop = receive, expected, stop
        self._pending: set[ProjectionCall | int] = set()

    def start_forward(self) -> None:
        self._pending = set(self._expected)

    def deliver(self, call: ProjectionCall, x: Tensor, y: Tensor | None, tokens: Tensor | None) -> None:
        self._receive(call, x, y, tokens)
        self.settle(call)

    def settle(self, what: ProjectionCall | int) -> None:
        self._pending.discard(what)
        if self._stop and not self._pending:
            raise StopForward


class _Recording:
    """The hooks on a model that record the projections of a layout."""

    def __init__(
        self,
        model: nn.Module,
        layout: NeuronLayout,
        receive: CallReceiver,
        inputs: Set[ProjectionCall],
        reads: Sequence[tuple[str, ArgumentReader]],
        *,
        stop: bool,
    ) -> None:
        self._model, self._inputs, self._reads = model, inputs, reads
        self._calls = set(projection_calls(layout))
        self._modules = dict(model.named_modules())
        needed = {call.projection.module for call in self._calls} | {path for path, _ in reads}
        if absent := sorted(needed - set(self._modules)):
            raise NeuronsNotFound(f"{type(model).__name__} has no {absent[0]}: this is the layout of another model")
        self._delivery = _Delivery(receive, {*self._calls, *range(len(reads))}, stop=stop)
        self._runs: dict[str, int] = {}
        self._functions = None
        if any(layer.expert is not None for layer in layout.layers) or not all(c.projection.whole for c in self._calls):
            self._functions = FunctionRecorder(model, self._calls, self._delivery.deliver)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """While open, the hooks are on the model."""
        with ExitStack() as stack:
            if self._functions is not None:
                stack.enter_context(eager_experts(self._model))
            for handle in self._hooks():
                stack.callback(handle.remove)
            if self._functions is not None:
                stack.enter_context(self._functions)
            yield

    def _hooks(self) -> Iterator[RemovableHandle]:
        for part in {self._model, without_head(self._model)}:
            yield part.register_forward_pre_hook(self._start_forward)
        for projection in {call.projection for call in self._calls if call.projection.whole}:
            module = self._modules[projection.module]
            early = all(call in self._inputs for call in self._calls if call.projection == projection)
            register = module.register_forward_pre_hook if early else module.register_forward_hook
            yield register(partial(self._record, projection))
        for number, (path, read) in enumerate(self._reads):
            hook = partial(self._read, number, read)
            yield self._modules[path].register_forward_pre_hook(hook, with_kwargs=True)
        if self._functions is not None:
            for path in self._functions.modules:
                yield self._modules[path].register_forward_pre_hook(partial(self._functions.enter, path))
                yield self._modules[path].register_forward_hook(self._functions.leave, always_call=True)

    def _start_forward(self, *_: Any) -> None:
        self._runs.clear()
        self._delivery.start_forward()
        if self._functions is not None:
            self._functions.start_forward()

    def _record(
        self, projection: Projection, module: nn.Module, args: tuple[Any, ...], output: Tensor | None = None
    ) -> None:
        run = self._runs[projection.module] = self._runs.get(projection.module, -1) + 1
        call = ProjectionCall(projection, run)
        if call not in self._calls:
            return
        x, y = args[0], output
        if projection.channels_first:
            x, y = x.mT, None if y is None else y.mT
        self._delivery.deliver(call, x, y, None if self._functions is None else self._functions.tokens(x))

    def _read(
        self, number: int, read: ArgumentReader, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if read(args, kwargs):
            self._delivery.settle(number)

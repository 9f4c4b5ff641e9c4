"""Recording of projections that are no modules, such as experts in one tensor, as torch functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from pytest_unineuron.models.discovery.parameters import (
    LAST,
    PARTS,
    ParameterFinder,
    ParameterPart,
    ParameterProduct,
    parameter_product,
)
from pytest_unineuron.models.discovery.token_rows import TokenRows

if TYPE_CHECKING:
    from collections.abc import Callable, Set

    from torch import Tensor, nn

    from pytest_unineuron.models.discovery.layout import CallReceiver, ProjectionCall


class FunctionRecorder(TorchFunctionMode):
    """Hands the products with some parameters to ``receive``, and follows which token each row belongs to."""

    def __init__(self, model: nn.Module, wanted: Set[ProjectionCall], receive: CallReceiver) -> None:
        super().__init__()
        self._finder = ParameterFinder(model)
        self._parameters = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._wanted = {
            (
                call.projection.module,
                ParameterPart(call.projection.parameter, call.projection.part, call.projection.parts),
                call.call,
            ): call
            for call in wanted
            if not call.projection.whole
        }
        self._receive = receive
        self._tokens = TokenRows(self._finder)
        self._runs: dict[tuple[str, ParameterPart], int] = {}
        self._running: list[str] = []

    @property
    def modules(self) -> set[str]:
        """The paths of the modules that run the wanted products."""
        return {module for module, _, _ in self._wanted if module}

    def start_forward(self) -> None:
        """Start counting the calls of a new forward pass."""
        self._runs.clear()

    def enter(self, path: str, *_: Any) -> None:
        """Note that the module at ``path`` runs; the rest of the arguments are those of a forward hook."""
        self._running.append(path)

    def leave(self, *_: Any) -> None:
        """Note that the innermost module has run."""
        self._running.pop()

    def tokens(self, tensor: Tensor) -> Tensor | None:
        """The number of the token of each row, [row]; None if the rows are all tokens in order."""
        return self._tokens.of(tensor)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor):
            if result.is_floating_point() and result.dim():
                self._tokens.follow(func, args, result)
                if self._wanted and (product := parameter_product(func, args, kwargs, self._finder.find)) is not None:
                    self._record(product, result)
        elif isinstance(result, tuple | list) and args and isinstance(args[0], torch.Tensor):
            self._tokens.follow_pieces(args[0], result)
        return result

    def _record(self, product: ParameterProduct, result: Tensor) -> None:
        data, operand = product.data, product.operand
        tokens = self._tokens.of(data)
        if product.features == PARTS:
            of_parts = None if tokens is None else tokens.view(data.shape[:-1])
            for part in range(len(result)):
                of_part = None if of_parts is None else of_parts[part]
                self._deliver(ParameterPart(operand.parameter, part, len(result)), data[part], result[part], of_part)
        elif product.features == LAST:
            self._deliver(operand, data, result, tokens)
        else:
            self._deliver(operand, data.mT, result.mT, tokens)

    def _deliver(self, operand: ParameterPart, x: Tensor, y: Tensor, tokens: Tensor | None) -> None:
        module = self._running[-1] if self._running else ""
        run = self._runs[module, operand] = self._runs.get((module, operand), -1) + 1
        call = self._wanted.get((module, operand, run))
        if call is None:
            return
        projection = call.projection
        if projection.bias_after:
            biases = self._parameters[projection.bias].reshape(-1, y.shape[-1])
            y = y + biases[projection.part if projection.parts > 1 else 0]
        self._receive(call, x, y, tokens)

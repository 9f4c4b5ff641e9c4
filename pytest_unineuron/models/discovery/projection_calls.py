"""What goes into and comes out of a model's projections while it runs, and which tokens it belongs to.

A projection that is a module of its own is hooked. Experts that share one tensor, and whatever else multiplies
by a parameter without being a module, are seen as torch functions. There, tokens are followed through the
indexing that deals them out to experts, so that a row always knows which token it is.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from pytest_unineuron.errors import ModelError, NeuronsNotFound
from pytest_unineuron.models.discovery.layout import POOLED, SEQUENCE_FIRST, NeuronLayer, NeuronLayout, Projection
from pytest_unineuron.models.discovery.parameters import ParameterFinder, ParameterPart, ParameterProduct, eager_experts
from pytest_unineuron.models.loading.forward import without_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence, Set

    from torch import Tensor, nn

    CallReceiver = Callable[["ProjectionCall", Tensor, Tensor | None, Tensor | None], None]
    """Called with what ran, its input and output, features last, and the number of the token of each row. There is no
    output where only the input was wanted, and no numbers where the rows are all tokens in order."""

    ArgumentReader = Callable[[tuple[Any, ...], dict[str, Any]], bool]
    """Called with what a module is given, by place and by name; returns whether it was what was waited for."""


_PLACING = (
    "index_add",
    "index_copy",
    "index_put",
    "index_fill",
    "scatter",
    "masked_scatter",
    "select_scatter",
    "slice_scatter",
)
"""Functions that put rows into those of their first argument: what comes out has the first's rows."""


class StopForward(Exception):  # noqa: N818 - nothing is wrong
    """Ends a pass of which all that is wanted was seen."""


class ProjectionCall(NamedTuple):
    """The ``call``-th time in a pass that a projection runs."""

    projection: Projection
    call: int = 0


def projection_calls(layout: NeuronLayout) -> list[ProjectionCall]:
    """Every projection of a plan, each time it runs."""
    found = []
    for site in layout.layers:
        found.append(ProjectionCall(site.down, site.call))
        found += [ProjectionCall(rows.projection, rows.call) for factor in site.up for rows in factor.terms]
    return list(dict.fromkeys(found))


def units_by_token(
    site: NeuronLayer, units: Tensor, tokens: Tensor | None, shape: tuple[int, int] | torch.Size
) -> tuple[Tensor, Tensor | None]:
    """Units as [token, unit] with the number of each row's token in a batch of ``shape`` [row, position].

    The numbers are None where the rows are all tokens in order. Raises ModelError where they cannot be told.
    """
    if tokens is not None:
        return units.reshape(-1, units.shape[-1]), tokens
    if site.row_kind == SEQUENCE_FIRST and units.dim() == 3:
        units = units.transpose(0, 1)
    if units.dim() == 3 and units.shape[0] == shape[0] and units.shape[1] > shape[1]:
        units = units[:, : shape[1]]  # padded to a round number of positions
    flat = units.reshape(-1, units.shape[-1])
    if len(flat) != shape[0] * shape[1] and site.row_kind != POOLED:
        raise ModelError(f"{site}: {len(flat)} rows for {shape[0] * shape[1]} tokens; which is which cannot be told")
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
    """While open, a forward pass hands what the projections of a plan read and return to ``receive``.

    Of those in ``inputs`` only what they read is wanted; it is handed over before they run, where they are modules.
    ``reads`` are further modules, by path, and what is told of all that they are given. With ``stop`` a pass ends in
    Enough as soon as all of this was seen. Without, the results of the model are the same to the bit, except that
    experts run one after the other ("eager") whatever kernel is the default.
    """
    wanted = set(projection_calls(layout))
    routed = any(site.expert is not None for site in layout.layers)
    modules = dict(model.named_modules())
    if absent := sorted(({use.projection.module for use in wanted} | {path for path, _ in reads}) - set(modules)):
        raise NeuronsNotFound(f"{type(model).__name__} has no {absent[0]}: this is the plan of another model")
    pending: set[ProjectionCall | int] = set()

    def settle(what: ProjectionCall | int) -> None:
        pending.discard(what)
        if stop and not pending:
            raise StopForward

    def deliver(use: ProjectionCall, x: Tensor, y: Tensor | None, rows: Tensor | None) -> None:
        receive(use, x, y, rows)
        settle(use)

    with ExitStack() as stack:
        mode = None
        if routed or not all(use.projection.whole for use in wanted):
            mode = FunctionRecorder(model, wanted, deliver)
            stack.enter_context(eager_experts(model))
        counts: dict[str, int] = {}

        def begin(*_: Any) -> None:
            counts.clear()
            pending.update(wanted, range(len(reads)))
            if mode is not None:
                mode.begin()

        def hook(projection: Projection) -> Callable[..., None]:
            path = projection.module

            def ran(module: nn.Module, args: tuple[Any, ...], output: Tensor | None = None) -> None:
                call = counts[path] = counts.get(path, -1) + 1
                use = ProjectionCall(projection, call)
                if use not in wanted:
                    return
                x, y = args[0], output
                if projection.channels_first:
                    x, y = x.mT, None if y is None else y.mT
                deliver(use, x, y, mode.tokens(x) if mode is not None else None)

            return ran

        def reader(number: int, read: ArgumentReader) -> Callable[..., None]:
            def given(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                if read(args, kwargs):
                    settle(number)

            return given

        for part in {model, without_head(model)}:
            stack.callback(part.register_forward_pre_hook(begin).remove)
        for projection in {use.projection for use in wanted if use.projection.whole}:
            module = modules[projection.module]
            before = all(use in inputs for use in wanted if use.projection == projection)
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            stack.callback(register(hook(projection)).remove)
        for number, (path, read) in enumerate(reads):
            handle = modules[path].register_forward_pre_hook(reader(number, read), with_kwargs=True)
            stack.callback(handle.remove)
        for path in {use.projection.module for use in wanted if not use.projection.whole and use.projection.module}:
            assert mode is not None
            stack.callback(modules[path].register_forward_pre_hook(mode.enter(path)).remove)
            stack.callback(modules[path].register_forward_hook(mode.leave, always_call=True).remove)
        if mode is not None:
            stack.enter_context(mode)
        yield


class FunctionRecorder(TorchFunctionMode):
    """Sees products with parameters that are no modules, and follows rows to the tokens they came from."""

    def __init__(self, model: nn.Module, wanted: set[ProjectionCall], receive: CallReceiver) -> None:
        super().__init__()
        self._operands = ParameterFinder(model)
        self._parameters = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._wanted = {
            (
                use.projection.module,
                ParameterPart(use.projection.parameter, use.projection.part, use.projection.parts),
                use.call,
            ): use
            for use in wanted
            if not use.projection.whole
        }
        self._receive = receive
        self._rows = WeakIdKeyDictionary()
        self._counts: dict[tuple[str, ParameterPart], int] = {}
        self._running: list[str] = []

    def begin(self) -> None:
        """A new forward pass."""
        self._counts.clear()

    def enter(self, path: str) -> Callable[..., None]:
        """A hook that notes that the module at ``path`` runs."""

        def hook(*_: Any) -> None:
            self._running.append(path)

        return hook

    def leave(self, *_: Any) -> None:
        """A hook that notes that the innermost module has run."""
        self._running.pop()

    def tokens(self, tensor: Tensor) -> Tensor | None:
        """The number of the token of each row, or None if they are all tokens in order."""
        with torch._C.DisableTorchFunction():
            rows: Tensor | None = self._rows.get(tensor)
        return rows

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor):
            if not result.is_floating_point() or not result.dim():
                return result
            self._follow(func, args, result)
            if self._wanted and (product := self._operands.product(func, args, kwargs, self._find)) is not None:
                self._product(product, result)
        elif isinstance(result, (tuple, list)) and args and isinstance(args[0], torch.Tensor):
            self._follow_pieces(args[0], result)
        return result

    def _find(self, tensor: Any) -> ParameterPart | None:
        return self._operands.find(tensor) if isinstance(tensor, torch.Tensor) else None

    def _product(self, product: ParameterProduct, result: Tensor) -> None:
        given, operand, layout = product.given, product.operand, product.layout
        module = self._running[-1] if self._running else ""
        if layout == "parts":
            rows = self._rows.get(given)
            rows = None if rows is None else rows.view(given.shape[:-1])
            for part in range(len(result)):
                one = ParameterPart(operand.parameter, part, len(result))
                self._hand_over(module, one, given[part], result[part], None if rows is None else rows[part])
            return
        x, y = (given.mT, result.mT) if layout else (given, result)
        self._hand_over(module, operand, x, y, self._rows.get(given))

    def _hand_over(self, module: str, operand: ParameterPart, x: Tensor, y: Tensor, rows: Tensor | None) -> None:
        call = self._counts[module, operand] = self._counts.get((module, operand), -1) + 1
        use = self._wanted.get((module, operand, call))
        if use is not None:
            if use.projection.bias_after:
                y = (
                    y
                    + self._parameters[use.projection.bias].reshape(-1, y.shape[-1])[
                        use.projection.part if use.projection.parts > 1 else 0
                    ]
                )
            self._receive(use, x, y, rows)

    def _follow(self, func: Callable[..., Any], args: tuple[Any, ...], result: Tensor) -> None:
        """Rows that were picked out keep the numbers of their tokens through whatever keeps their count."""
        name = getattr(func, "__name__", "")
        if name in ("__getitem__", "index_select"):
            base, index = (args[0], args[1]) if name == "__getitem__" else (args[0], args[2])
            if name == "index_select" and args[1] not in (0, -base.dim()):
                return
            if self._find(base) is not None:  # picked out of a table, not out of the tokens
                return
            known = self._rows.get(base)
            if known is None and not _picks(index):
                return
            if known is None:
                known = torch.arange(base.numel() // max(1, base.shape[-1]), device=base.device)
            try:
                picked = known.view(*base.shape[:-1], 1).expand(base.shape)[index]
            except (RuntimeError, IndexError):
                return
            if picked.shape == result.shape:
                self._rows[result] = picked[..., 0].flatten()
            return
        if name == "cat":
            rows = [self._rows.get(piece) for piece in args[0] if isinstance(piece, torch.Tensor)]
            if rows and all(of is not None for of in rows) and result.dim() == 2:
                joined = torch.cat(rows)
                self._rows[result] = joined if len(joined) == len(result) else rows[0]
            return
        count = result.numel() // max(1, result.shape[-1])
        for arg in args[:1] if name.startswith(_PLACING) else args:
            if isinstance(arg, torch.Tensor) and (rows := self._rows.get(arg)) is not None and len(rows) == count:
                self._rows[result] = rows
                return

    def _follow_pieces(self, base: Tensor, pieces: Any) -> None:
        rows = self._rows.get(base)
        if rows is None or not all(isinstance(piece, torch.Tensor) and piece.dim() for piece in pieces):
            return
        if all(piece.shape[:-1] == base.shape[:-1] for piece in pieces):  # cut along the features
            for piece in pieces:
                self._rows[piece] = rows
        elif all(piece.shape[1:] == base.shape[1:] for piece in pieces) and base.dim() == 2:
            for piece, of in zip(pieces, rows.split([len(piece) for piece in pieces]), strict=True):
                self._rows[piece] = of


def _picks(index: Any) -> bool:
    """Whether an index picks rows by number, as opposed to a slice."""
    items = index if isinstance(index, tuple) else (index,)
    return any(isinstance(item, torch.Tensor) and item.dim() for item in items)

"""Which token each row of a tensor belongs to, followed through the indexing that routes tokens to experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from pytest_unineuron.models.discovery.parameters import ParameterFinder

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
"""Functions that write rows into their first argument, so that their result has the rows of that."""


class TokenRows:
    """The number of the token of each row, for tensors whose rows are not all tokens in order.

    ``parameters`` are those of the model: their rows are no tokens.
    """

    def __init__(self, parameters: ParameterFinder) -> None:
        self._parameters = parameters
        self._tokens = WeakIdKeyDictionary()

    def of(self, tensor: Tensor) -> Tensor | None:
        """The token of each row of ``tensor`` [row, …], [row]; None if the rows are all tokens in order."""
        with torch._C.DisableTorchFunction():
            tokens: Tensor | None = self._tokens.get(tensor)
        return tokens

    def follow(self, func: Callable[..., Any], args: tuple[Any, ...], result: Tensor) -> None:
        """Note the tokens of a floating point ``result`` if those of the arguments of a torch function are known."""
        name = getattr(func, "__name__", "")
        if name == "__getitem__":
            self._follow_index(args[0], args[1], result)
        elif name == "index_select":
            if args[1] in (0, -args[0].dim()):
                self._follow_index(args[0], args[2], result)
        elif name == "cat":
            self._follow_cat(args[0], result)
        else:
            self._follow_rowwise(args[:1] if name.startswith(_PLACING) else args, result)

    def follow_pieces(self, base: Tensor, pieces: Sequence[Any]) -> None:
        """Note the tokens of the pieces that a tensor was split into."""
        tokens = self._tokens.get(base)
        if tokens is None or not all(isinstance(piece, torch.Tensor) and piece.dim() for piece in pieces):
            return
        if all(piece.shape[:-1] == base.shape[:-1] for piece in pieces):  # split along the features
            for piece in pieces:
                self._tokens[piece] = tokens
        elif all(piece.shape[1:] == base.shape[1:] for piece in pieces) and base.dim() == 2:
            for piece, of_piece in zip(pieces, tokens.split([len(piece) for piece in pieces]), strict=True):
                self._tokens[piece] = of_piece

    def _follow_index(self, base: Tensor, index: Any, result: Tensor) -> None:
        if self._parameters.find(base) is not None:
            return
        tokens = self._tokens.get(base)
        if tokens is None:
            if not _picks_rows(index):
                return
            tokens = torch.arange(base.numel() // max(1, base.shape[-1]), device=base.device)
        try:
            picked = tokens.view(*base.shape[:-1], 1).expand(base.shape)[index]
        except (RuntimeError, IndexError):
            return
        if picked.shape == result.shape:
            self._tokens[result] = picked[..., 0].flatten()

    def _follow_cat(self, pieces: Sequence[Any], result: Tensor) -> None:
        tokens = [self._tokens.get(piece) for piece in pieces if isinstance(piece, torch.Tensor)]
        if tokens and all(of_piece is not None for of_piece in tokens) and result.dim() == 2:
            joined = torch.cat(tokens)
            self._tokens[result] = joined if len(joined) == len(result) else tokens[0]

    def _follow_rowwise(self, args: tuple[Any, ...], result: Tensor) -> None:
        """A result with as many rows as an argument has the tokens of that argument."""
        count = result.numel() // max(1, result.shape[-1])
        for arg in args:
            tokens = self._tokens.get(arg) if isinstance(arg, torch.Tensor) else None
            if tokens is not None and len(tokens) == count:
                self._tokens[result] = tokens
                return


def _picks_rows(index: Any) -> bool:
    """Whether an index picks rows by number, as opposed to a slice."""
    items = index if isinstance(index, tuple) else (index,)
    return any(isinstance(item, torch.Tensor) and item.dim() for item in items)

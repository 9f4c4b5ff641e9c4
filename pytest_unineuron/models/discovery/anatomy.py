"""What one traced forward pass tells about a model: its neurons, its heads, its unembedding."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import ModelError, NeuronsNotFound
from pytest_unineuron.models.discovery import residual_stream
from pytest_unineuron.models.discovery.attention import Attention, Head, find_attentions, find_heads
from pytest_unineuron.models.discovery.dataflow import input_norm
from pytest_unineuron.models.discovery.graph import NORM, Trace, TracedOp
from pytest_unineuron.models.discovery.layout import NeuronLayout  # noqa: TC001 - its type is read when an anatomy is revived
from pytest_unineuron.models.discovery.neurons import find_neurons
from pytest_unineuron.models.discovery.padding import mark_pooled_layers
from pytest_unineuron.models.discovery.parameters import eager_experts
from pytest_unineuron.models.discovery.trace import trace_forward
from pytest_unineuron.models.loading.configuration import text_configs
from pytest_unineuron.models.loading.forward import text_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from pytest_unineuron.models.loading.load import LoadedModel

PROBE_TOKENS = 14
"""Length of the traced input: long enough that a unit's slope differs between tokens."""


@dataclass(frozen=True)
class Anatomy:
    """Where things are in a model, by module path.

    ``width`` is that of the residual stream where it ends.
    ``unembedding`` is empty for a model without one that reads ``final_norm`` directly; ``capped`` says that its
    logits are bent (a soft cap) before they are compared, so that a constant added to all would matter.
    ``heads`` is empty where attention does not show separate query and key projections, ``attentions`` where no
    output projection reads its values.
    """

    layout: NeuronLayout
    width: int
    unembedding: str
    final_norm: str
    capped: bool
    heads: tuple[Head, ...]
    attentions: tuple[Attention, ...]

    @property
    def middle_width(self) -> int:
        """The width of the residual stream where half of the blocks have run; 0 if the model does not show it."""
        return self.layout.stream.width if self.layout.stream else 0


def probe_ids(loaded: LoadedModel, rows: int = 1, tokens: int = PROBE_TOKENS) -> Tensor:
    """Rows of token ids, the same every time, without special tokens where there are enough others."""
    generator = torch.Generator().manual_seed(0)
    special = set(loaded.tokenizer.all_special_ids)
    plain = [token for token in range(loaded.vocabulary) if token not in special] or [0]
    chosen = torch.randint(len(plain), (rows, tokens), generator=generator)
    return torch.tensor(plain)[chosen]


def dissect(loaded: LoadedModel, neurons: str = "") -> Anatomy:
    """The anatomy of a model. Raises NeuronsNotFound if nothing in it is an MLP neuron.

    ``neurons`` is a pattern of paths, as in fnmatch: then neurons are what the projections of that name read.
    """
    ids = probe_ids(loaded)
    model = loaded.model
    try:
        seen = trace_forward(model, text_arguments(model, ids, torch.ones_like(ids)))
    except Exception as error:  # any architecture may refuse a plain text input in its own way
        reason = (str(error).splitlines() or [""])[0]
        raise ModelError(f"{type(model).__name__} does not run on token ids alone: {reason}") from error
    with _one_thread():
        return _read_off(loaded, seen, ids, neurons)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Many small questions are answered faster by one thread than by several that wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _read_off(loaded: LoadedModel, seen: Trace, ids: Tensor, neurons: str) -> Anatomy:
    model = loaded.model
    configs = [config.to_dict() for config in text_configs(model.config)]
    words = {value for config in configs for value in config.values() if isinstance(value, str)}
    try:
        layout = find_neurons(seen, model, frozenset(words), only=neurons)
    except NeuronsNotFound as error:
        raise NeuronsNotFound(f"{type(model).__name__}: {error}") from None
    unembedding, final_norm = _unembedding(loaded, seen)
    reads = [op.rows.shape[1] for op in seen.linear() if op.module == unembedding]
    width = reads[-1] if unembedding and reads else layout.layers[-1].output_width
    capped = bool(unembedding) and _bent(seen, unembedding)
    with eager_experts(model):
        middle = residual_stream.find_stream(model, ids)
    return Anatomy(
        replace(mark_pooled_layers(model, layout, ids), stream=middle),
        width,
        unembedding,
        final_norm,
        capped,
        find_heads(seen),
        find_attentions(seen),
    )


def _unembedding(loaded: LoadedModel, seen: Trace) -> tuple[str, str]:
    """The module that turns the last norm's output into logits, and that norm; both empty if there is none.

    Behind a masked-language-model head the last norm reads the head's own transform rather than the residual
    stream, so a neuron's write vector has no direct effect on the logits there.
    """
    head = loaded.model.get_output_embeddings()
    if head is None:
        return "", ""
    path = next((name for name, module in loaded.model.named_modules() if module is head), "")
    ran = [op for op in seen.linear() if op.module == path and op.whole]
    name = input_norm(seen, ran[-1]).norm if ran else ""
    norm = next((op for op in reversed(seen.ops) if op.kind == NORM and op.module == name), None) if name else None
    return (path, name) if norm is not None and _reads_residual(seen, norm) else ("", "")


def _bent(seen: Trace, unembedding: str) -> bool:
    """Whether the logits are not proportional to what the unembedding returned."""
    raw = next(op.out for op in reversed(seen.linear()) if op.module == unembedding)
    if seen.output is None or seen.output.shape[-1] != raw.shape[1]:
        return False
    a, b = seen.output.detach().double().flatten(), raw.double().flatten()
    return a.shape != b.shape or bool((a - b * (a @ b) / (b @ b)).abs().max() > 1e-5 * a.abs().max())


def _reads_residual(seen: Trace, norm: TracedOp) -> bool:
    """Whether a norm's input is a sum with a term of the same slope at every token; experts' terms differ."""
    column = norm.rows.shape[1] // 2
    depends = seen.depends(norm.rows[:, column].sum(), norm.rows)
    slopes = [gradient[:, column] for gradient in depends.values() if gradient.shape[1] > column]
    return any(bool((s - s[0]).abs().max() <= 1e-5 * s.abs().max()) for s in slopes)

"""The anatomy of a model, found in one traced forward pass: its neurons, its heads and its unembedding."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.errors import ModelError, NeuronsNotFound, first_line
from pytest_unineuron.models.discovery.attention import AttentionLayer, Head, find_attentions, find_heads
from pytest_unineuron.models.discovery.dataflow import input_norm
from pytest_unineuron.models.discovery.graph import NORM, Trace, TracedOp
from pytest_unineuron.models.discovery.layout import NeuronLayout  # noqa: TC001 - revive reads this annotation
from pytest_unineuron.models.discovery.neurons import find_neurons
from pytest_unineuron.models.discovery.padding import mark_pooled_layers
from pytest_unineuron.models.discovery.parameters import eager_experts
from pytest_unineuron.models.discovery.residual_stream import find_stream
from pytest_unineuron.models.discovery.trace import trace_forward
from pytest_unineuron.models.loading.configuration import text_configs
from pytest_unineuron.models.loading.forward import text_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from pytest_unineuron.models.loading.load import LoadedModel

PROBE_TOKENS = 14
"""The length of the traced input: long enough that the slope of a unit differs between tokens."""


@dataclass(frozen=True)
class Anatomy:
    """Where the parts of a model are, by module path.

    ``width`` is that of the residual stream at its end. ``unembedding`` is empty for a model without one that reads
    ``final_norm`` directly. ``capped`` says that logits are bent by a soft cap, so that a constant added to all of
    them changes the log-probabilities. ``heads`` is empty for a model whose attention has no separate query and key
    projections, ``attentions`` for one in which no output projection reads the values of all heads.
    """

    layout: NeuronLayout
    width: int
    unembedding: str
    final_norm: str
    capped: bool
    heads: tuple[Head, ...]
    attentions: tuple[AttentionLayer, ...]

    @property
    def middle_width(self) -> int:
        """The width of the residual stream after half of the blocks; 0 for a model that does not show it."""
        return self.layout.stream.width if self.layout.stream else 0


def probe_ids(loaded: LoadedModel, rows: int = 1) -> Tensor:
    """Token ids [row, position], the same at every call, without special tokens if the model has others."""
    generator = torch.Generator().manual_seed(0)
    special = set(loaded.tokenizer.all_special_ids)
    plain = [token for token in range(loaded.vocabulary) if token not in special] or [0]
    chosen = torch.randint(len(plain), (rows, PROBE_TOKENS), generator=generator)
    return torch.tensor(plain)[chosen]


def dissect(loaded: LoadedModel, neurons: str = "") -> Anatomy:
    """The anatomy of a model.

    ``neurons`` is an fnmatch pattern of paths: then the inputs of the projections with such a path are the neurons.
    Raises NeuronsNotFound if the model has no MLP neurons, ModelError if it does not run on token ids alone.
    """
    ids = probe_ids(loaded)
    model = loaded.model
    try:
        trace = trace_forward(model, text_arguments(model, ids, torch.ones_like(ids)))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # any architecture may refuse a plain text input in its own way
        raise ModelError(f"{type(model).__name__} does not run on token ids alone: {first_line(error)}") from error
    with _one_thread():
        return _anatomy(loaded, trace, ids, neurons)


@contextmanager
def _one_thread() -> Iterator[None]:
    """While open, torch uses one thread: for many small backward passes, several would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _anatomy(loaded: LoadedModel, trace: Trace, ids: Tensor, neurons: str) -> Anatomy:
    model = loaded.model
    configs = [config.to_dict() for config in text_configs(model.config)]
    words = frozenset(value for config in configs for value in config.values() if isinstance(value, str))
    try:
        layout = find_neurons(trace, model, words, only=neurons)
    except NeuronsNotFound as error:
        raise NeuronsNotFound(f"{type(model).__name__}: {error}") from None
    unembedding, final_norm = _unembedding(loaded, trace)
    widths = [op.inputs.shape[1] for op in trace.matmuls if op.module == unembedding]
    with eager_experts(model):
        stream = find_stream(model, ids)
    return Anatomy(
        replace(mark_pooled_layers(model, layout, ids), stream=stream),
        width=widths[-1] if unembedding and widths else layout.layers[-1].output_width,
        unembedding=unembedding,
        final_norm=final_norm,
        capped=bool(unembedding) and _is_capped(trace, unembedding),
        heads=find_heads(trace),
        attentions=find_attentions(trace),
    )


def _unembedding(loaded: LoadedModel, trace: Trace) -> tuple[str, str]:
    """The module that turns the output of the last norm into logits, and that norm; both empty if there is none.

    In a masked language model the last norm reads the transform of its head rather than the residual stream, so a
    neuron's write vector has no direct effect on the logits.
    """
    head = loaded.model.get_output_embeddings()
    if head is None:
        return "", ""
    path = next((name for name, module in loaded.model.named_modules() if module is head), "")
    ran = [op for op in trace.matmuls if op.module == path and op.projection.whole]
    name = input_norm(trace, ran[-1]).norm if ran else ""
    norm = next((op for op in reversed(trace.ops) if op.kind == NORM and op.module == name), None) if name else None
    return (path, name) if norm is not None and _reads_residual(trace, norm) else ("", "")


def _is_capped(trace: Trace, unembedding: str) -> bool:
    """Whether the logits are not proportional to the output of the unembedding."""
    raw = next(op.outputs for op in reversed(trace.matmuls) if op.module == unembedding)
    if trace.output is None or trace.output.shape[-1] != raw.shape[1]:
        return False
    a, b = trace.output.detach().double().flatten(), raw.double().flatten()
    return a.shape != b.shape or bool((a - b * (a @ b) / (b @ b)).abs().max() > 1e-5 * a.abs().max())


def _reads_residual(trace: Trace, norm: TracedOp) -> bool:
    """Whether the input of a norm is a sum with a term whose slope, unlike that of experts, is equal at all tokens."""
    column = norm.inputs.shape[1] // 2
    gradients = trace.gradients(norm.inputs[:, column].sum(), norm.inputs)
    slopes = [gradient[:, column] for gradient in gradients.values() if gradient.shape[1] > column]
    return any(bool((s - s[0]).abs().max() <= 1e-5 * s.abs().max()) for s in slopes)

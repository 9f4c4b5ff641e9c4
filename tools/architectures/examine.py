"""Examines one architecture: finds the neurons of a tiny model and compares them with the expected ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.errors import NeuronsNotFound, UnineuronError
from pytest_unineuron.models.discovery import verification
from pytest_unineuron.models.discovery.anatomy import dissect, probe_ids
from pytest_unineuron.models.discovery.parameters import eager_experts
from pytest_unineuron.models.discovery.projection_calls import record_projections
from pytest_unineuron.models.discovery.residual_stream import stream_rows
from pytest_unineuron.models.discovery.similar_layers import path_pattern
from pytest_unineuron.models.loading.forward import middle_stream, run_model
from pytest_unineuron.models.loading.load import LoadedModel
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.statistics import POST, RESIDUAL
from tools.architectures.examination import COMPLETE, FAILED, NO_MLP, PARTIAL, Examination
from tools.architectures.folding import folded_weights
from tools.architectures.shrink import Entry, tiny_model, token_inputs
from tools.architectures.sizes import DEFAULT, EQUAL, VOCABULARY, WIDE_HEADS
from tools.architectures.truth import expected_projections

if TYPE_CHECKING:
    from pytest_unineuron.models.discovery.anatomy import Anatomy
    from pytest_unineuron.models.discovery.layout import NeuronLayer


class SizedTokenizer:
    """A stand-in for the tokenizer of a tiny model, which only knows its number of tokens."""

    all_special_ids: tuple[int, ...] = ()

    def __len__(self) -> int:
        return VOCABULARY


def examine(entry: Entry, variant: str = "default") -> Examination:
    """Build a tiny model of an architecture and find its neurons. Any error is part of the result, not raised."""
    result, start = Examination(entry.mapping, entry.model_type), time.monotonic()
    try:
        _examine(entry, variant, result)
    except Exception as error:  # an architecture may fail in any way, and the result says how
        result.reason = result.reason or f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
    result.seconds = round(time.monotonic() - start, 2)
    return result


def _examine(entry: Entry, variant: str, result: Examination) -> None:
    shape = {"equal": EQUAL, "wide-heads": WIDE_HEADS}.get(variant, DEFAULT)
    # Only widths that are all different identify MLPs; the paths are the same in every variant.
    plain = tiny_model(entry, DEFAULT)
    expected = expected_projections(plain, token_inputs(plain), DEFAULT)
    model = plain if shape is DEFAULT else tiny_model(entry, shape)
    if variant == "bfloat16":
        model = model.to(torch.bfloat16)
    if variant.endswith("_mm"):
        model.set_experts_implementation(variant)
    loaded = LoadedModel(model, SizedTokenizer(), "", None)  # type: ignore[arg-type]
    result.outcome = FAILED
    try:
        anatomy = dissect(loaded)
    except NeuronsNotFound as error:
        result.outcome = FAILED if expected else NO_MLP
        result.reason = str(error)
        return
    _describe(anatomy, result)
    found = {
        (layer.down.parameter, layer.down.part if layer.down.parts > 1 else None) for layer in anatomy.layout.layers
    }
    result.missing, result.extra = sorted(map(str, expected - found)), sorted(map(str, found - expected))
    ids = probe_ids(loaded, rows=2)
    result.verified = verification.verify(model, anatomy.layout, ids).facts()
    result.outcome = PARTIAL if result.missing or result.extra else COMPLETE
    result.same_recorded = _same_recorded(loaded, anatomy, ids)
    result.same_stopped = _same_stopped(loaded, anatomy, ids)
    if variant != "bfloat16":
        result.folded = _folded(loaded, anatomy)


def _describe(anatomy: Anatomy, result: Examination) -> None:
    layers = anatomy.layout.layers
    result.layers, result.neurons = len(layers), anatomy.layout.n_neurons
    result.experts = any(layer.expert is not None for layer in layers)
    result.gated = any(layer.gated for layer in layers)
    result.gate_layouts = sorted({_gate_layout(layer) for layer in layers})
    result.activations = sorted({layer.activation or "?" for layer in layers})
    result.projections = sorted({".".join(path_pattern(layer.down.path).split(".")[-3:]) for layer in layers})
    result.obstacle = next((layer.obstacle for layer in layers if layer.obstacle), "")
    result.heads = sum(head.out is not None for head in anatomy.heads)
    result.unembedding = bool(anatomy.unembedding)


def _gate_layout(layer: NeuronLayer) -> str:
    """How the input weights are stored: as one projection or two, or as the two halves or alternate rows of one."""
    if not layer.gated:
        return "plain"
    first, second = layer.up
    if first.projection != second.projection:
        return "gate and up"
    return "fused gate, up" if first.stride == 1 else "interleaved gate, up"


def _same_recorded(loaded: LoadedModel, anatomy: Anatomy, ids: torch.Tensor) -> bool:
    """Whether the model returns the same bits while its projections are recorded; ``ids`` are [row, position]."""
    with eager_experts(loaded.model):
        before = run_model(loaded.model, ids, torch.ones_like(ids))[0]
    with record_projections(loaded.model, anatomy.layout, lambda *_: None):
        after = run_model(loaded.model, ids, torch.ones_like(ids))[0]
    return torch.equal(before, after)


def _same_stopped(loaded: LoadedModel, anatomy: Anatomy, ids: torch.Tensor) -> bool:
    """Whether a forward pass that stops early shows the same bits as a complete one; ``ids`` are [row, position]."""
    model, layout, mask = loaded.model, anatomy.layout.per_token, torch.ones_like(ids)
    captured: dict[tuple[str, int], torch.Tensor] = {}

    def receive(site: str, index: int, units: torch.Tensor, _: torch.Tensor | None) -> None:
        captured[site, index] = units.clone()

    with capture_activations(model, layout, receive) as capture:
        capture.forward(ids, mask)
    with eager_experts(model):
        stream = middle_stream(run_model(model, ids, mask, states=True))
    if layout.stream is not None and (stream is None or not torch.equal(captured[RESIDUAL, 0], stream_rows(stream))):
        return False
    values = verification.layer_values(model, layout, ids)
    # An expert's captured rows may only be those of the tokens that were routed to it.
    dense = {i: layer for i, layer in enumerate(layout.layers) if layer.expert is None and layer in values}
    return all(torch.equal(captured[POST, index], values[layer].by_token[0]) for index, layer in dense.items())


def _folded(loaded: LoadedModel, anatomy: Anatomy) -> float | None:
    """The relative change of log-probabilities by folding; None if nothing can be folded."""
    given = token_inputs(loaded.model)
    try:
        with torch.no_grad(), eager_experts(loaded.model):
            before = loaded.model(**given)[0].log_softmax(-1)
            with folded_weights(WeightView(loaded, anatomy)) as replaced:
                after = loaded.model(**given)[0].log_softmax(-1)
    except UnineuronError:
        return None
    return float((before - after).abs().max() / before.abs().max()) if replaced else None

"""One architecture, examined: what was found in a tiny model of it, and whether it is right."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

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
from pytest_unineuron.models.weights.folding import folded_weights
from pytest_unineuron.models.weights.weight_view import WeightView
from pytest_unineuron.statistics import POST, RESIDUAL
from tools.architectures.shrink import DEFAULT, EQUAL, WIDE_HEADS, Entry, inputs, tiny
from tools.architectures.sizes import VOCABULARY
from tools.architectures.truth import expected

if TYPE_CHECKING:
    from pytest_unineuron.models.discovery.anatomy import Anatomy

VARIANTS = ("default", "equal", "wide-heads", "bfloat16", "grouped_mm", "batched_mm")
"""Sizes all different; MLPs as wide as the stream and the heads; heads twice as wide as the stream; half precision;
and other kernels for experts than the one that is the default."""

COMPLETE, PARTIAL, NONE, FAILED, UNBUILT = "complete", "partial", "no MLP neurons", "failed", "not built"


@dataclass
class Examined:
    """What came out. ``missing`` and ``extra`` are compared with an independent look at the same model.

    ``verified`` maps every identity to the number of sites it was checked at and its largest error; ``folded`` is
    by how much log-probabilities differ on folded weights, relative to the largest; ``same`` whether the model
    returns the same bits while it is watched, ``early`` whether a pass that is left as soon as everything was seen
    shows the same bits as one that goes to its end.
    """

    mapping: str
    model_type: str
    outcome: str = UNBUILT
    reason: str = ""
    sites: int = 0
    neurons: int = 0
    experts: bool = False
    gated: bool = False
    layouts: list[str] = field(default_factory=list)
    activations: list[str] = field(default_factory=list)
    down: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    verified: dict[str, Any] = field(default_factory=dict)
    folded: float | None = None
    obstacle: str = ""
    heads: int = 0
    unembedding: bool = False
    same: bool | None = None
    early: bool | None = None
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return asdict(self)


class SizedTokenizer:
    """A stand-in for the tokenizer of a tiny model: it knows its number of tokens and nothing else."""

    all_special_ids: tuple[int, ...] = ()

    def __len__(self) -> int:
        return VOCABULARY


def examine(entry: Entry, variant: str = "default") -> Examined:
    """Build a tiny model of an architecture and look for its neurons. Nothing is raised: a failure is a result."""
    found, start = Examined(entry.mapping, entry.model_type), time.monotonic()
    try:
        _examine(entry, variant, found)
    except Exception as error:  # any architecture may fail in its own way, and that is what is asked here
        found.reason = found.reason or f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
    found.seconds = round(time.monotonic() - start, 2)
    return found


def _examine(entry: Entry, variant: str, found: Examined) -> None:
    shape = {"equal": EQUAL, "wide-heads": WIDE_HEADS}.get(variant, DEFAULT)
    # Widths that are all different are what the truth is told by; the paths are the same in every variant.
    plain = tiny(entry, DEFAULT)
    truth = expected(plain, inputs(plain), DEFAULT)
    model = plain if shape is DEFAULT else tiny(entry, shape)
    if variant == "bfloat16":
        model = model.to(torch.bfloat16)
    if variant.endswith("_mm"):
        model.set_experts_implementation(variant)
    loaded = LoadedModel(model, SizedTokenizer(), "", None)  # type: ignore[arg-type]
    found.outcome = FAILED
    try:
        anatomy = dissect(loaded)
    except NeuronsNotFound as error:
        found.outcome = FAILED if truth else NONE
        found.reason = str(error)
        return
    _describe(anatomy, found)
    downs = {
        (layer.down.parameter, layer.down.part if layer.down.parts > 1 else None) for layer in anatomy.layout.layers
    }
    found.missing, found.extra = sorted(map(str, truth - downs)), sorted(map(str, downs - truth))
    ids = probe_ids(loaded, rows=2)
    found.verified = verification.verify(model, anatomy.layout, ids).facts()
    found.outcome = PARTIAL if found.missing or found.extra else COMPLETE
    found.same = _same(loaded, anatomy, ids)
    found.early = _early(loaded, anatomy, ids)
    if variant != "bfloat16":
        found.folded = _folded(loaded, anatomy)


def _describe(anatomy: Anatomy, found: Examined) -> None:
    layers = anatomy.layout.layers
    found.sites, found.neurons = len(layers), anatomy.layout.n_neurons
    found.experts = any(layer.expert is not None for layer in layers)
    found.gated = any(layer.gated for layer in layers)
    found.layouts = sorted({layer.gate_layout for layer in layers})
    found.activations = sorted({layer.activation or "?" for layer in layers})
    found.down = sorted({".".join(path_pattern(layer.down.path).split(".")[-3:]) for layer in layers})
    found.obstacle = next((layer.obstacle for layer in layers if layer.obstacle), "")
    found.heads = sum(head.out is not None for head in anatomy.heads)
    found.unembedding = bool(anatomy.unembedding)


def _same(loaded: LoadedModel, anatomy: Anatomy, ids: torch.Tensor) -> bool:
    with eager_experts(loaded.model):
        before = run_model(loaded.model, ids, torch.ones_like(ids))[0]
    with record_projections(loaded.model, anatomy.layout, lambda *_: None):
        after = run_model(loaded.model, ids, torch.ones_like(ids))[0]
    return torch.equal(before, after)


def _early(loaded: LoadedModel, anatomy: Anatomy, ids: torch.Tensor) -> bool:
    model, layout, there = loaded.model, anatomy.layout.per_token, torch.ones_like(ids)
    found: dict[tuple[str, int], torch.Tensor] = {}

    def receive(site: str, index: int, units: torch.Tensor, _: torch.Tensor | None) -> None:
        found[site, index] = units.clone()

    with capture_activations(model, layout, receive) as capture:
        capture.forward(ids, there)
    with eager_experts(model):
        stream = middle_stream(run_model(model, ids, there, states=True))
    if layout.stream is not None and (stream is None or not torch.equal(found[RESIDUAL, 0], stream_rows(stream))):
        return False
    seen = verification.layer_values(model, layout, ids, whole=False)
    # Of experts some show no more than the tokens that came to them.
    alike = {i: layer for i, layer in enumerate(layout.layers) if layer.expert is None and layer in seen}
    return all(torch.equal(found[POST, index], seen[layer].by_token[0]) for index, layer in alike.items())


def _folded(loaded: LoadedModel, anatomy: Anatomy) -> float | None:
    given = inputs(loaded.model)
    try:
        with torch.no_grad(), eager_experts(loaded.model):
            before = loaded.model(**given)[0].log_softmax(-1)
            with folded_weights(WeightView(loaded, anatomy)) as replaced:
                after = loaded.model(**given)[0].log_softmax(-1)
    except UnineuronError:
        return None
    return float((before - after).abs().max() / before.abs().max()) if replaced else None

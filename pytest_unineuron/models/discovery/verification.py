"""On load: what was found behaves like neurons, and the weights that were read are the weights that act."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from pytest_unineuron.errors import NeuronsNotFound
from pytest_unineuron.models.discovery.activation_functions import activation_function
from pytest_unineuron.models.discovery.layout import POOLED, NeuronLayer, NeuronLayout
from pytest_unineuron.models.discovery.matrix import projection_matrix
from pytest_unineuron.models.discovery.projection_calls import ProjectionCall, record_projections, units_by_token
from pytest_unineuron.models.loading.forward import run_model

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.models.discovery.layout import ProjectionSlice

TOLERANCE = 1e-3
"""Largest allowed error of an identity, relative to the largest value: float32 gives about 1e-6."""
COARSE_TOLERANCE = 5e-2
"""The same in half precision, and where weights are quantised."""
ROW_TOLERANCE = 0.1
"""Largest allowed error of a row, relative to its own largest value, between a text alone and among others."""
OUTPUT_IDENTITY, INPUT_IDENTITY, ACTIVATION_IDENTITY, ROWS_ARE_TOKENS = (
    "W_out h + b = output",
    "W_in x + b = pre",
    "act(pre) = h",
    "rows are tokens",
)


@dataclass(eq=False)
class LayerValues:
    """What went through one site: ``units`` and ``output`` of the projection that reads them, [token, …].

    ``up`` is what every projection behind the units read and returned; ``placed`` the units with their tokens.
    """

    units: Tensor
    output: Tensor
    up: dict[ProjectionSlice, tuple[Tensor, Tensor]]
    placed: tuple[Tensor, Tensor | None]


@dataclass(eq=False)
class Verification:
    """The largest error of every identity, relative to the largest value, and how many products it was seen at.

    ``limit`` is how large it may be, ``sites`` how many sites there are; experts that no token reached are not
    seen. Of "rows are tokens" it is the error that four tokens of five stay below.
    """

    sites: int
    limit: float = TOLERANCE
    errors: dict[str, float] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    def note(self, identity: str, error: float) -> None:
        """Another site at which an identity holds, up to ``error``."""
        self.errors[identity] = max(error, self.errors.get(identity, 0.0))
        self.seen[identity] = self.seen.get(identity, 0) + 1

    def facts(self) -> dict[str, Any]:
        """JSON-safe: by identity, at how many sites it was seen, of how many, and its largest error."""
        return {
            name: {"sites": min(self.seen[name], self.sites), "of": self.sites, "error": float(f"{error:.2g}")}
            for name, error in self.errors.items()
        }


def layer_values(model: Any, layout: NeuronLayout, ids: Tensor, *, whole: bool) -> dict[NeuronLayer, LayerValues]:
    """What every site of a plan reads and returns on a batch. Sites that no token reached are left out."""
    seen: dict[ProjectionCall, tuple[Tensor, Tensor, Tensor | None]] = {}

    def receive(use: ProjectionCall, x: Tensor, y: Tensor | None, tokens: Tensor | None) -> None:
        assert y is not None
        seen[use] = (x.clone(), y.clone(), tokens)  # some models add to what they were returned, in place

    with record_projections(model, layout, receive):
        run_model(model, ids, torch.ones_like(ids), whole=whole)
    found = {}
    for site in layout.layers:
        if (down := seen.get(ProjectionCall(site.down, site.call))) is None:
            continue
        parts = [rows for factor in site.up for rows in factor.terms]
        if any(ProjectionCall(rows.projection, rows.call) not in seen for rows in parts):
            raise NeuronsNotFound(f"{site}: what it reads did not run as the plan says")
        ups = {rows: seen[ProjectionCall(rows.projection, rows.call)][:2] for rows in parts}
        flat = {rows: (_flat(x), _flat(y)) for rows, (x, y) in ups.items()}
        placed = units_by_token(site, down[0], down[2], ids.shape)
        found[site] = LayerValues(_flat(down[0]), _flat(down[1]), flat, placed)
    return found


def verify(model: Any, layout: NeuronLayout, ids: Tensor, *, whole: bool = False) -> Verification:
    """Check every neuron layer of a model that was just loaded, on two rows of token ids.

    Raises NeuronsNotFound, naming the layer, the identity and the error, unless

    * the widths agree with what the layer was given,
    * ``W_out h + b`` is what the output projection returned, and ``W_in x + b`` is the pre-activation,
    * the pre-activation through the named activation, times the other factor, is h,
    * both rows read together show what each row shows alone, so that rows belong to the tokens they should,
    * zeroing the neuron that writes most moves what the model returns.
    """
    found = Verification(len(layout.layers), _limit(model))
    both = layer_values(model, layout, ids, whole=whole)
    for site, values in both.items():
        if values.units.shape[1] != site.width:
            raise NeuronsNotFound(f"{site.down.path}: reads {values.units.shape[1]} units, the plan says {site.width}")
        if len(values.units):
            _identities(model, site, values, found)
    if not both:
        raise NeuronsNotFound("none of the neuron layers in the plan ran")
    alone = [layer_values(model, layout, row[None], whole=whole) for row in ids]
    for site, values in both.items():
        if site.row_kind != POOLED:
            apart = torch.cat([_dense(of.get(site), ids.shape[1], values) for of in alone])
            _aligned(site, apart, _dense(values, ids.numel(), values), found)
    changed = [site for site in _first_and_last(layout) if site in both]
    if not changed:
        return found
    before = run_model(model, ids, torch.ones_like(ids), whole=whole)[0]
    if all(torch.equal(_without(model, site, both[site], ids, whole=whole), before) for site in changed):
        raise NeuronsNotFound(
            f"{changed[0]}: zeroing the neuron that writes most does not move the output of the model"
        )
    return found


def _first_and_last(layout: NeuronLayout) -> list[NeuronLayer]:
    """Of every stack the first and the last layer whose input can be changed by a hook."""
    stacks: dict[str, list[NeuronLayer]] = {}
    for site in layout.layers:
        if site.down.whole and site.expert is None and not site.down.channels_first:
            stacks.setdefault(site.stack, []).append(site)
    return [site for sites in stacks.values() for site in dict.fromkeys((sites[0], sites[-1]))]


def _without(model: Any, site: NeuronLayer, values: LayerValues, ids: Tensor, *, whole: bool) -> Tensor:
    """What the model returns while the neuron that writes most is zero."""
    written = values.units.abs().amax(dim=0) * projection_matrix(model, site.down, site.width).weight.norm(dim=0)
    strongest = int(written.argmax())

    def hook(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        changed = args[0].clone()
        changed[..., strongest] = 0
        return (changed, *args[1:])

    handle = model.get_submodule(site.down.module).register_forward_pre_hook(hook)
    try:
        returned: Tensor = run_model(model, ids, torch.ones_like(ids), whole=whole)[0]
    finally:
        handle.remove()
    return returned


def _dense(values: LayerValues | None, count: int, like: LayerValues) -> Tensor:
    """The units of every token, [token, unit]; 0 where a token did not come."""
    dense = torch.zeros(count, like.units.shape[1], dtype=like.units.dtype, device=like.units.device)
    if values is not None:
        units, tokens = values.placed
        dense[slice(None) if tokens is None else tokens] = units
    return dense


def _limit(model: Any) -> float:
    """How large an error may be: products in half precision, or of quantised activations, are off by a hundredth."""
    plain = all(type(p) is torch.nn.Parameter for p in model.parameters()) and not getattr(model, "is_quantized", False)
    full = model.dtype in (torch.float32, torch.float64)
    return TOLERANCE if plain and full else COARSE_TOLERANCE  # a wrong orientation is off by more than one


def _flat(x: Tensor) -> Tensor:
    return x.detach().reshape(-1, x.shape[-1])


def _identities(model: Any, site: NeuronLayer, values: LayerValues, found: Verification) -> None:
    write = projection_matrix(model, site.down, site.width)
    _agree(site, OUTPUT_IDENTITY, _apply(write, values.units), values.output, found)
    for rows, (x, y) in values.up.items():
        _agree(site, INPUT_IDENTITY, _apply(projection_matrix(model, rows.projection, x.shape[1]), x), y, found)
    if site.activation and not site.inner_norm:
        _agree(site, ACTIVATION_IDENTITY, *_acted(site, values), found)


def _acted(site: NeuronLayer, values: LayerValues) -> tuple[Tensor, Tensor]:
    factors = [
        sum(rows.scale * values.up[rows][1][:, rows.slice(site.width)] for rows in factor.terms) for factor in site.up
    ]
    function = activation_function(site.activation)
    assert function is not None
    h = function(factors[0]) * (factors[1] if site.gated else 1)
    if site.routing_weighted:
        h = h * ((h * values.units).sum(1) / h.pow(2).sum(1).clamp_min(1e-30))[:, None]
    return h, values.units


def _apply(linear: Any, x: Tensor) -> Tensor:
    y: Tensor = x @ linear.weight.to(x.dtype).T
    return y if linear.bias is None else y + linear.bias


def _aligned(site: NeuronLayer, apart: Tensor, together: Tensor, verified: Verification) -> None:
    """As ``_agree``, for four tokens of five: rounding can send one to another expert."""
    apart, together = apart.float(), together.float()
    seen = (apart != 0).any(dim=1) | (together != 0).any(dim=1)
    # By the row's own size: one token can be a thousand times larger than all others.
    size = torch.maximum(apart.abs().amax(dim=1), together.abs().amax(dim=1)).clamp_min(
        1e-6 * float(together.abs().max())
    )
    errors = ((apart - together).abs().amax(dim=1) / size.clamp_min(1e-12))[seen]
    error = float(errors.quantile(0.8)) if len(errors) else 0.0
    if not error <= ROW_TOLERANCE:
        raise NeuronsNotFound(
            f"{site}: {ROWS_ARE_TOKENS} fails by {error:.2g} of the largest value; they are not in their order"
        )
    verified.note(ROWS_ARE_TOKENS, error)


def _agree(site: NeuronLayer, identity: str, expected: Tensor, found: Tensor, verified: Verification) -> None:
    error = float((expected - found).abs().max() / found.abs().max().clamp_min(1e-12)) if found.numel() else 0.0
    if not error <= verified.limit:
        raise NeuronsNotFound(
            f"{site}: {identity} fails by {error:.2g} of the largest value (allowed {verified.limit:g})"
        )
    verified.note(identity, error)

"""A forward pass over batches feeds any number of consumers, none of which knows of the others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch

from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.statistics import ATTENTION, RESIDUAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor, nn

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.discovery.attention import AttentionLayer
    from pytest_unineuron.models.discovery.layout import NeuronLayout


class Consumer:
    """Receives the activations of a forward pass, batch by batch. This one wants nothing.

    ``sites`` are the sites whose activations it is given.
    """

    sites: frozenset[str] = frozenset()

    def start_batch(self, batch: Batch) -> None:
        """Prepare for the activations of a batch."""

    def receive(self, site: str, index: int, values: Tensor, tokens: Tensor | None) -> None:
        """Take the activations of one layer, [token, unit], at all tokens of the batch or at those in ``tokens``.

        ``index`` is the number of the layer in the layout.
        """


@dataclass(frozen=True, eq=False)
class Encoding:
    """Units that modules compute from those of a ``site``, layer by layer, [token, unit] to [token, unit].

    ``modules`` has one for each layer of the site, None for a layer without such units; ``sizes`` are the numbers of
    units of the layers that have some.
    """

    site: str
    modules: Sequence[nn.Module | None]
    sizes: Sequence[int]

    @property
    def indices(self) -> list[int]:
        """The layers of the site that have such units."""
        return [index for index, module in enumerate(self.modules) if module is not None]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the values of the modules, by layer and name."""
        total = hashlib.sha256()
        for index in self.indices:
            for name, value in self._module(index).state_dict().items():
                total.update(f"{index} {name} {value.dtype} {tuple(value.shape)}".encode())
                total.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return total.hexdigest()

    def encode(self, index: int, values: Tensor) -> Tensor:
        """Return the units of one layer of the site, float64 if ``values`` are, else float32."""
        wide = values if values.dtype == torch.float64 else values.float()
        encoded: Tensor = self._module(index).to(values.device)(wide)
        return encoded

    def _module(self, index: int) -> nn.Module:
        module = self.modules[index]
        assert module is not None
        return module


def run_pass(
    model: nn.Module,
    layout: NeuronLayout,
    batches: Iterable[Batch],
    consumers: Sequence[Consumer],
    *,
    attentions: Sequence[AttentionLayer] = (),
    encodings: Mapping[str, Encoding] | None = None,
) -> None:
    """Run a model on batches, and hand what is captured to all consumers that want it.

    ``encodings`` are sites by name that are computed from others. The site ATTENTION is that of ``attentions``.
    """
    encodings = encodings or {}
    wanted = {site for consumer in consumers for site in consumer.sites}
    used = {name: encoding for name, encoding in encodings.items() if name in wanted}
    watched = wanted | {encoding.site for encoding in used.values()}

    def hand_over(site: str, index: int, values: Tensor, tokens: Tensor | None) -> None:
        for consumer in consumers:
            if site in consumer.sites:
                consumer.receive(site, index, values, tokens)

    def receive(site: str, index: int, values: Tensor, tokens: Tensor | None) -> None:
        hand_over(site, index, values, tokens)
        for name, encoding in used.items():
            if encoding.site == site and index in encoding.indices:
                hand_over(name, encoding.indices.index(index), encoding.encode(index, values), tokens)

    def receive_heads(index: int, width: int, values: Tensor) -> None:
        receive(ATTENTION, index, values.reshape(-1, width), None)

    readers = [
        (attention.out, partial(receive_heads, index, attention.heads * attention.dimension))
        for index, attention in enumerate(attentions if ATTENTION in watched else ())
    ]
    with capture_activations(model, layout, receive, stream=RESIDUAL in watched, reads=readers) as capture:
        for batch in batches:
            for consumer in consumers:
                consumer.start_batch(batch)
            capture.forward(batch.ids, batch.attention_mask)

"""A forward pass over batches feeds any number of consumers, none of which knows of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_unineuron.activations.capture import capture_activations
from pytest_unineuron.statistics import RESIDUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor, nn

    from pytest_unineuron.corpora.blocks import Batch
    from pytest_unineuron.models.discovery.layout import NeuronLayout


class Consumer:
    """Receives the activations of a forward pass, batch by batch. This one wants nothing.

    ``sites`` are the sites whose activations it is given.
    """

    sites: frozenset[str] = frozenset()

    def argument_readers(self) -> Sequence[tuple[str, Callable[[Tensor], None]]]:
        """Paths of further modules, each with a function that is called with the module's first argument."""
        return ()

    def start_batch(self, batch: Batch) -> None:
        """Prepare for the activations of a batch."""

    def receive(self, site: str, index: int, values: Tensor, tokens: Tensor | None) -> None:
        """Take the activations of one layer, [token, unit], at all tokens of the batch or at those in ``tokens``.

        ``index`` is the number of the layer in the layout.
        """


def run_pass(model: nn.Module, layout: NeuronLayout, batches: Iterable[Batch], consumers: Sequence[Consumer]) -> None:
    """Run a model on batches, and hand what is captured to all consumers that want it."""

    def receive(site: str, index: int, values: Tensor, tokens: Tensor | None) -> None:
        for consumer in consumers:
            if site in consumer.sites:
                consumer.receive(site, index, values, tokens)

    readers = [reader for consumer in consumers for reader in consumer.argument_readers()]
    stream = any(RESIDUAL in consumer.sites for consumer in consumers)
    with capture_activations(model, layout, receive, stream=stream, reads=readers) as capture:
        for batch in batches:
            for consumer in consumers:
                consumer.start_batch(batch)
            capture.forward(batch.ids, batch.attention_mask)

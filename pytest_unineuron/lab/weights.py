"""The weights of one model as trials read them: one number per neuron, head or dimension."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_unineuron.errors import NotApplicable
from pytest_unineuron.extend.table import load
from pytest_unineuron.lab.instrument import digest_of
from pytest_unineuron.models.weights.heads import folded, output_weight, require_heads, require_value, weight_of
from pytest_unineuron.roles.composition import Composition, composition, random_composition, ranks
from pytest_unineuron.roles.embedding_basis import embedded
from pytest_unineuron.roles.neuron_vectors import (
    folded_biases,
    read_norms,
    read_write_cosines,
    stored_biases,
    write_norms,
)
from pytest_unineuron.universality.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from pytest_unineuron.lab.results import Recall
    from pytest_unineuron.models.discovery.attention import Head
    from pytest_unineuron.models.weights.weight_view import WeightView


class Weights:
    """Statistics of weights. Arrays are [neuron] over all layers in order, float64, unless noted otherwise.

    Weights with a hat are folded: the norm in front is folded into input weights, and output weights are centred
    (Gurnee et al. 2024, appendix A.1). Raises NotApplicable for a part that the model does not have. For a control
    arm, ``subject`` are the weights of the model itself. ``recall`` returns what an instrument found before, or has it
    computed.
    """

    def __init__(
        self,
        view: WeightView,
        subject: Weights | None = None,
        recall: Recall = lambda instrument, given, compute: compute(),
    ) -> None:
        self._view = view
        self.subject = subject
        self._recall = recall

    @cached_property
    def layer(self) -> NDArray[np.int64]:
        """The layer of each neuron."""
        layout = self._view.anatomy.layout.per_token
        return np.repeat(layout.layer_numbers, [layer.width for layer in layout.layers])

    @cached_property
    def bias(self) -> NDArray[np.float64]:
        """Folded input bias b̂ = b + w·β."""
        return np.asarray(self.role(folded_biases))

    @cached_property
    def raw_bias(self) -> NDArray[np.float64]:
        """Input bias, not folded."""
        return np.asarray(self.role(stored_biases))

    @cached_property
    def read_norm(self) -> NDArray[np.float64]:
        """‖ŵ_in‖₂."""
        return np.asarray(self.role(read_norms))

    @cached_property
    def write_norm(self) -> NDArray[np.float64]:
        """‖ŵ_out‖₂."""
        return np.asarray(self.role(write_norms))

    @property
    def size(self) -> NDArray[np.float64]:
        """‖ŵ_in‖² + ‖ŵ_out‖², [neuron], the L2 penalty of Gurnee et al. 2024, figure 3."""
        return self.read_norm**2 + self.write_norm**2

    @cached_property
    def cosine(self) -> NDArray[np.float64]:
        """cos(ŵ_in, ŵ_out)."""
        return np.asarray(self.role(read_write_cosines))

    def role(self, instrument: Callable[..., Any], *given: Any) -> Any:
        """Return ``instrument(view, *given)``, where an instrument is a function of the weights, as those of ``roles``.

        A tensor is returned as an array. It is run once per arm, unless it is given more than tensors and plain values.
        """
        found = self._recall(instrument, digest_of(given), lambda: instrument(self._view, *given))
        return found.cpu().numpy() if isinstance(found, torch.Tensor) else found

    @cached_property
    def composition(self) -> Composition:
        """The moments of cos(ŵ_out, Ŵ_U) over the vocabulary."""
        return Composition.of(self.role(composition), self._view.anatomy.width)

    @cached_property
    def random_composition(self) -> Composition:
        """The same moments for random directions of the stream, [direction]."""
        return Composition.of(self.role(random_composition), self._view.anatomy.width)

    @cached_property
    def composition_rank(self) -> NDArray[np.float64]:
        """The share of random directions of the stream with a smaller kurtosis over the vocabulary, [neuron].

        What a random direction singles out depends on the unembedding alone.
        """
        found: NDArray[np.float64] = ranks(
            torch.from_numpy(self.composition.kurtosis),
            torch.from_numpy(self.random_composition.kurtosis).sort().values,
        ).numpy()
        return found

    def written_by(self, kind: str) -> Tensor:
        """Return what each unit of a kind that ``extend.units`` declared writes to the residual stream, [unit, width].

        It is the ``writes`` of the modules. Raises NotApplicable for modules without it.
        """
        modules = [module for module in load(KINDS[kind].encoders)(self._view) if module is not None]
        if not all(hasattr(module, "writes") for module in modules):
            raise NotApplicable(f"units {kind!r} do not say what they write: give their modules writes [unit, width]")
        return torch.cat([module.writes for module in modules])

    def logit_effects(self, neuron: int) -> NDArray[np.float64]:
        """Return the effect on each logit of one unit of activation of a neuron, Ŵ_U ŵ_out, [token].

        ``neuron`` is its number among all neurons. Raises NotApplicable for a model without an unembedding, and for a
        neuron that writes to another stream, such as an encoder's.
        """
        layer, unit = self._view.anatomy.layout.per_token.place_of(neuron)
        unembedding, write = self._view.unembedding.double(), self._view.stream_writes[layer]
        if write is None:
            raise NotApplicable("this neuron does not write to the stream that the unembedding reads")
        return (unembedding @ write[unit].double().to(unembedding.device)).cpu().numpy()

    @cached_property
    def embedding(self) -> NDArray[np.float64]:
        """The token embedding W_E, not folded, [token, dimension]."""
        return self._view.embedding.double().cpu().numpy()

    def embedded(self, ids: Sequence[int]) -> NDArray[np.float64]:
        """Return the embeddings of some tokens, [token of ids, dimension]."""
        return np.asarray(self.role(embedded, torch.tensor(ids)))

    @cached_property
    def heads(self) -> tuple[HeadWeights, ...]:
        """The query and key weights of every attention head. Raises NotApplicable if they are not separate."""
        return tuple(HeadWeights(self._view, head) for head in require_heads(self._view))

    @property
    def head_layer(self) -> NDArray[np.int64]:
        """The layer of each head, [head]."""
        return np.array([head.layer for head in self.heads])


class HeadWeights:
    """The weights of one attention head."""

    def __init__(self, view: WeightView, head: Head) -> None:
        self._view, self._head = view, head
        self.layer, self.index = head.layer, head.index
        self._parts = (head.query, head.key)

    def raw(self) -> tuple[Tensor, Tensor]:
        """Return W_Q and W_K, not folded, each [dimension of the head, width]."""
        query, key = (weight_of(self._view, part) for part in self._parts)
        return query, key

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return W_Q and W_K with the norm in front folded in, each [dimension of the head, width].

        Raises NotApplicable where the norm cannot be folded.
        """
        query, key = (folded(self._view, part) for part in self._parts)
        return query, key

    @property
    def value(self) -> Tensor:
        """W_V, not folded, [dimension of the head, width]. Raises NotApplicable."""
        return weight_of(self._view, require_value(self._head))

    @property
    def output(self) -> Tensor:
        """W_O, by which the head writes its values, [width, dimension of the head]. Raises NotApplicable."""
        return output_weight(self._view, self._head)

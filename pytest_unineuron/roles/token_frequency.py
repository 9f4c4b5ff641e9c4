"""Token-frequency neurons: they move the logits of all tokens towards, or away from, how frequent the tokens are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_unineuron.roles.composition import by_neuron
from pytest_unineuron.roles.null_space import TOKENS_AT_ONCE, gram

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_unineuron.models.weights.weight_view import WeightView


def frequency_correlations(view: WeightView, counts: Tensor) -> Tensor:
    """Return, for every neuron, the correlation over tokens of the logits it adds with log frequency, [neuron].

    ``counts`` [token] are those in a text; one is added to each (Stolfo et al. 2024). nan for a neuron that changes no
    logit, or writes elsewhere. Raises NotApplicable for a model without an unembedding behind its last norm.
    """
    direction, of_gram = frequency_direction(view.unembedding, counts), gram(view.unembedding)
    return by_neuron(view, lambda write: logit_correlations(write, direction, of_gram))


def random_correlations(view: WeightView, counts: Tensor, directions: int, draws: int) -> Tensor:
    """Return the same of random directions of the stream, [draw, direction].

    A frequent direction of Ŵ_U gives them a correlation too.
    """
    unembedding = view.unembedding
    direction, of_gram = frequency_direction(unembedding, counts), gram(unembedding)
    generator = torch.Generator().manual_seed(1)
    sets = (torch.randn(directions, unembedding.shape[1], generator=generator).to(unembedding) for _ in range(draws))
    return torch.stack([logit_correlations(random, direction, of_gram) for random in sets]).cpu()


def frequency_direction(unembedding: Tensor, counts: Tensor) -> Tensor:
    """Return Ŵ_Uᵀ u, [width] float64, where u is the standardised log frequency of each token, of length 1."""
    unit = log_frequency(counts, len(unembedding)).to(unembedding.device)
    parts = zip(unembedding.split(TOKENS_AT_ONCE), unit.split(TOKENS_AT_ONCE), strict=True)
    return sum((block.double().T @ of_block for block, of_block in parts), torch.zeros(()).to(unit))


def log_frequency(counts: Tensor, vocabulary: int) -> Tensor:
    """Return the log of the ``counts`` [token] plus 1, with mean 0 and of length 1, [vocabulary] float64."""
    logs = (counts[:vocabulary].double() + 1).log()
    return torch.nn.functional.normalize(logs - logs.mean(), dim=0)


def logit_correlations(write: Tensor, direction: Tensor, of_gram: Tensor) -> Tensor:
    """Return the correlation of the logits that each row of ``write`` [neuron, width] adds with u, [neuron]."""
    write, direction, of_gram = write.double(), direction.to(write.device), of_gram.to(write.device)
    size = ((write @ of_gram) * write).sum(dim=1).clamp_min(0).sqrt()  # ‖Ŵ_U ŵ_out‖; its mean over tokens is 0
    least = 1e-6 * write.norm(dim=1) * of_gram.trace().sqrt()
    return torch.where(size > least, write @ direction / size, torch.nan)
